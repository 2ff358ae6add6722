// Package stream carries the bytes of many connections and makes nobody wait: what
// comes is handed to a [User], and what is to be sent is asked of it when there is
// room.
//
// # How
//
// On Linux, TCP and unix sockets are taken from Go's own poller and share a few
// loops: each has one goroutine that reads whatever sockets have something, into
// one buffer, and one that writes. A connection that does nothing costs its
// description and no more: no goroutine, no buffer, no timer. All others (TLS, a
// pipe, another system) have a goroutine that reads and one that writes while there
// is something to write. A User does not see the difference.
//
// # Guarantees
//
//   - Received gets the bytes in order, one call at a time. When it wants no more,
//     nothing is read until Resume, so the peer is slowed down by its own kernel;
//     its next call gets nothing new, for what it has kept.
//   - Ended is the last call of those, once, whatever ends the connection. The
//     connection can still be written to; Abort has to follow in time.
//   - What one call of Output returns is written whole before the next call. One
//     call at a time; calls of Received may run beside it. Who calls Flush sees
//     Output called after that, unless the connection has failed or was aborted.
//   - What is not written within the time that Output gave fails the connection.
//   - Start, Flush, Resume, CloseWrite and Abort never block and may be called by
//     anybody, also by the User's methods and with locks held that these take.
//     After Abort, no bytes are sent or received; Ended follows if it was not
//     called yet.
package stream
