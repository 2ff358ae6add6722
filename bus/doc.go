// Package bus is the plain protocol between gateways and workers, and the
// connection that speaks it.
//
// # What goes over a bus
//
// A gateway publishes every event of a client (open, text, binary, close) as a
// request on [EventSubject]; one worker of the queue group answers on the reply
// subject ([ReplySubject]), and that answer is the acknowledgement. Workers
// push frames to clients on [PushSubject] and ask the gateway to do things on
// [CommandSubject]. Payloads are raw frames or JSON; what is rare travels in
// headers ([HeaderStatus] and its neighbours). Any NATS client can take part.
//
// # Guarantees of a Conn
//
//   - Messages that one connection publishes on one subject reach each
//     subscription in the order they were published.
//   - One [Conn.Subscribe] call delivers the messages of all its subjects one at
//     a time, in the order they arrived; so a push that a worker sends before
//     its reply is seen before that reply.
//   - A message published with a reply subject that nobody is subscribed to
//     comes back as a no-responders message ([IsNoResponders]) on that reply
//     subject, if the publisher has a plain subscription that covers it. The
//     payload does not come back.
//   - Delivery is at most once: what a subscription's buffer cannot take is
//     dropped and counted ([Subscription.Dropped]); what a lost connection held
//     is gone. The delivery promises of gatebus are made on top, by
//     acknowledgement and redelivery in package gateway.
//
// Callbacks of one subscription run one at a time and must not block.
//
// [Dial] connects to a NATS server; package membus is the same thing in
// memory, for tests; package bustest is the suite that both pass.
package bus
