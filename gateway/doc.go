// Package gateway holds the clients' connections: what they send becomes events
// on the gateway's bus, what workers reply and push becomes frames.
//
// # Guarantees
//
//   - The events of one client (open, frames, close) are handled one at a time and
//     in order. A worker that takes batches, as the SDK does, may have up to 32
//     of them, or queue_bytes, and handles them in order; with any other one,
//     the next is given out when the one before it is answered. What a worker
//     has not answered that leaves, is gone, or hands one back, goes in order
//     to the one that is picked then.
//   - With queue routing any worker gets an event that none before it is
//     unanswered of: of those that take batches the one with the least to do,
//     which gets the next few too, else whom the queue group picks. With sticky
//     routing a client's events go to the worker that took its open event, for
//     as long as that stays.
//   - An event that no worker has any more is given out again, marked as a
//     redelivery, max_deliver times in all; then it is dropped and counted and
//     its client closed with 1011. When a worker's connection ends that is at
//     once; a worker that is frozen or cut off is disconnected ack_wait and
//     150 ms after an event went to it. Both stand on workers that tell what
//     they hold ([bus.AskSubject]); with others in the group, an event is given
//     out again when it is not answered within ack_wait.
//   - An event that a worker holds, as it says, is not given out again.
//   - The first answer to an event counts. Any later one is discarded and
//     counted, so a client sees at most one answer to a frame, and the answers
//     in the order of its frames.
//   - While no worker is there, events wait for at most hold; the first worker
//     that appears gets them within some 50 ms. After hold the client is closed
//     with 1013.
//   - What a client sends beyond its queue (queue_frames, queue_bytes) stays in
//     its socket: it is not read until there is room, and TCP slows it down. So
//     is one that does not read the answers to what it sends, when they take half
//     of what may wait for it. Nothing is dropped.
//   - Frames to a client leave in the order they arrived on the bus from one
//     worker. A client that does not read them fast enough (send_frames,
//     send_bytes, write_timeout) is closed with 4000 and counted; no other
//     client waits for it.
//   - A close event is the last event of every client whose open event a worker
//     has accepted.
//   - All that holds on every listener and in every protocol ([Protocol]). Those
//     without a handshake have no close codes on the wire: the connection ends
//     after what was queued. That a client's bytes end between two messages is
//     its normal end (1000), in the middle of one it is not (1006); either way
//     it gets the answers to what it has sent, if it still listens.
//   - A worker group gets the events of its clients only, and one without a
//     worker keeps no other group's clients waiting.
//
// # Who owns what
//
// On Linux a few loops read the clients' sockets and write to them, elsewhere each
// client has a goroutine that reads, and one that writes while there is something
// (package stream). One goroutine delivers everything that comes from the bus
// (replies, pushes, commands) in order of arrival; it never blocks, and writes only
// what a socket takes at once. One goroutine watches deadlines, one pings.
//
// Locks are taken in this order: index, a connection's own, client, dispatcher's
// publishing, dispatcher.
package gateway
