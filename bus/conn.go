package bus

import (
	"context"
	"errors"
)

// The errors of a Conn.
var (
	// ErrClosed is returned by every call on a closed connection.
	ErrClosed = errors.New("bus: connection closed")
	// ErrNoResponders is returned by Request when nobody is subscribed.
	ErrNoResponders = errors.New("bus: nobody is subscribed to the subject")
	// ErrTooLarge is wrapped by the errors of what is larger than the server
	// takes.
	ErrTooLarge = errors.New("larger than the server takes")
)

// Conn is one connection to a bus. All methods may be called concurrently. The
// package documentation states what it guarantees.
type Conn interface {
	// Publish sends a message; it does not wait for anybody to get it. While
	// the connection is broken it fails: nothing is kept for later.
	Publish(m *Msg) error

	// Subscribe calls fn for every message on the subjects, one at a time, in
	// order of arrival across all of them. fn must not block.
	Subscribe(fn func(*Msg), subjects ...string) (Subscription, error)

	// QueueSubscribe joins a queue group: each message on the subject goes to
	// one member of the group. fn is called one message at a time and must
	// not block.
	QueueSubscribe(subject, queue string, fn func(*Msg)) (Subscription, error)

	// Request publishes m with a reply subject of its own and returns the
	// first answer, ErrNoResponders, or an error that wraps the cause of ctx.
	// Only ctx ends a request whose answer is lost, be it with the connection.
	Request(ctx context.Context, m *Msg) (*Msg, error)

	// Flush returns when the server has handled all that was published or
	// subscribed before.
	Flush(ctx context.Context) error

	// Close ends the connection at once. Subscriptions end, messages not yet
	// delivered are dropped. It returns when no callback runs any more, so it
	// must not be called from one.
	Close()
}

// Subscription is what Subscribe and QueueSubscribe return.
type Subscription interface {
	// Drain leaves: the server sends nothing more, what it has sent already is
	// delivered. It returns when the last callback has, with ErrClosed when the
	// connection is closed first, or with the cause of ctx when that ends; the
	// subscription goes on leaving then, and another Drain waits again.
	Drain(ctx context.Context) error

	// Dropped counts the messages that found the buffer full.
	Dropped() uint64
}
