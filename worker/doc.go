// Package worker is the SDK for the business logic: a [Handler] gets the events
// of clients from every gateway and answers them.
//
// [docs/api.md] is the API on one page.
//
// # What there is
//
//   - An [Event] says what has happened, and is answered: a frame, a close, and at
//     open, before the client's handshake is answered, a refusal or what the client is
//     given ([Admission]).
//   - A [Client] is one connection: it is sent frames, bound to a uid, put into
//     groups, closed; its session is changed without losing what others change at the
//     same time ([Client.MergeSession], [Client.UpdateSession]).
//   - A [Cluster] is all of them, of all gateways: sends to uids and groups, changes
//     for many, counts, and lists that are streamed. What waits for gateways asks them
//     side by side and ends with its context, or after five seconds; what is returned
//     beside a [*PartialError] is of those gateways that did answer.
//   - A handler that is a [Starter], [Stopper], [GatewayHandler] or
//     [GatewayDownHandler] as well is told of that, too.
//   - A program that is no worker has a [Connection] ([Connect]).
//   - Package workertest is for tests of all that.
//
// # What a handler can rely on
//
//   - The events of one client come one at a time and in order: open, frames,
//     close. Events of different clients come at the same time, up to
//     Concurrency of them.
//   - Every event comes at least once. It comes again, with Delivery 2, 3, …,
//     if the gateway got no answer in time: this worker was cut off or killed
//     in the middle, or the one before was. Only one answer counts.
//   - A handler may take as long as it needs: the gateway is told that it is
//     still at work.
//   - Up to 32 events of a client wait here for their turn. Where a gateway
//     routes sticky, a client's events come to the same worker for as long as
//     that is linked and takes events.
//   - The answer ([Event.Reply]) is sent when Handle returns, together with the
//     acknowledgement. What Handle sends before by [Client.Send] and the
//     methods of [Cluster] reaches clients of the same gateway before it, in
//     order. Sends are at most once: a gateway whose link is down is left
//     out, and counted (Stats.Unreached).
//   - A handler that returns an error, panics, calls runtime.Goexit, or answers
//     with what cannot be an answer or is larger than the gateway takes, ends
//     one client, with 1011 (at open with HTTP status 500), and nothing else.
//   - What this worker has changed of a client's uid and session, its next event has,
//     even if that was sent before.
//   - A handler must unlock what it has locked before it returns, its goroutine's
//     thread (runtime.LockOSThread) too: the goroutine may handle other events then.
//   - A client whose gateway dies has no close event. A handler that must know
//     is a [GatewayDownHandler].
//
// # Coming and going
//
// A worker has a link to every gateway that the registers know of; it keeps
// one up even if the registers forget the gateway or are all gone. Two workers
// of one name both work; lists show the one that started first, of two on
// one host the one that started last. When the
// context of [Worker.Run] ends, the worker takes no more events, answers those
// it has, and leaves: nothing is lost or handled twice for it.
//
// [docs/api.md]: https://github.com/gatebus/gatebus/blob/main/docs/api.md
package worker
