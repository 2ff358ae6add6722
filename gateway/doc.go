// Package gateway holds the clients' connections: what they send becomes events
// on the gateway's bus, what workers reply and push becomes frames.
//
// # Guarantees
//
//   - The events of one client (open, frames, close) are given out one at a time
//     and in order: the next one when the one before it is answered.
//   - An event that no worker answers within ack_wait is given out again, marked
//     as a redelivery, max_deliver times in all; then it is dropped and counted
//     and its client closed with 1011.
//   - The first answer to an event counts. Any later one is discarded and
//     counted, so a client sees at most one answer to a frame.
//   - While no worker is there, events wait for at most hold; the first worker
//     that appears gets them within some 50 ms. After hold the client is closed
//     with 1013.
//   - What a client sends beyond its queue (queue_frames, queue_bytes) stays in
//     its socket: it is not read until there is room, and TCP slows it down.
//     Nothing is dropped.
//   - Frames to a client leave in the order they arrived on the bus from one
//     worker. A client that does not read them fast enough (send_frames,
//     send_bytes, write_timeout) is closed with 4000 and counted; no other
//     client waits for it.
//   - A close event is the last event of every client whose open event a worker
//     has accepted.
//
// # Who owns what
//
// Each client has one goroutine that reads its socket. Frames to it are written
// by a goroutine that lives only while there are some. One goroutine delivers
// everything that comes from the bus (replies, pushes, commands) in order of
// arrival; it never blocks. One goroutine watches deadlines, one pings.
//
// Locks are taken in this order: index, client, dispatcher.
package gateway
