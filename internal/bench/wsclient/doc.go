// Package wsclient is a WebSocket client that costs little, for a load
// generator that shares the machine with what it measures.
//
// A [Conn] is used by one reader at a time; writes may come from anybody, since
// every frame leaves in one Write of the connection. Frames are encoded by
// package wsframe, so that many can leave in one system call. What [Conn.Next]
// returns is a view of the read buffer and good until the next call. Pings are
// answered from Next. Nothing is dropped and nothing is queued: a peer that
// does not read stops the writer.
//
// It offers no extensions and checks of the peer what a load generator needs:
// the handshake, the framing, the order of fragments; not whether text is UTF-8.
package wsclient
