// Package webhook has a handler that asks an HTTP server what to do: whatever
// answers HTTP requests, in PHP, Python or anything else, is a worker then.
// docs/webhook.md is for those who write such a server, here called the receiver.
//
// # What is sent
//
// Every event is one POST in the form of a CloudEvent 1.0 in binary content mode:
// what is known of the event stands in ce- headers, the body is the frame as it
// is, or JSON. With signing keys it is signed as the Standard Webhooks
// specification says.
//
// ce-id names the event. It is the same when a request is tried again, and when
// the gateway gives the event to another worker (ce-delivery 2, 3, …): a receiver
// that remembers ids handles each event once.
//
// That a gateway is down is posted as well, since its clients have no close events.
//
// # What is answered
//
// 2xx handles an event: with a body that has a type, it answers with a frame;
// with Gb- headers, it closes the client, or gives it a uid, groups or a session.
// An open event is answered with 2xx for yes, with 4xx for no.
//
// # When it fails
//
// 5xx, 408, 425, 429, time-outs and broken connections are tried again, after
// pauses that grow, until there have been as many as Retries or MaxElapsed is
// over. Whatever else is no answer fails at once: 4xx of an event that is not an
// open event, a redirect, a body that is too large, a header that is wrong. What
// has failed closes the client with 1011, as the error of any handler does; at
// open it refuses the client with 503, or with 500 if the answer was wrong.
//
// Meanwhile the events of the same client wait, those of others do not: for
// them there are as many connections as the worker handles events at a time.
package webhook
