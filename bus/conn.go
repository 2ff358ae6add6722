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
	// one member of the group. fn is called for them, and for every message
	// on the further subjects (which are not shared with the group), one at a
	// time, in order of arrival across all of them. fn must not block. The
	// group is joined last: a member of it is subscribed to the further
	// subjects.
	QueueSubscribe(subject, queue string, fn func(*Msg), further ...string) (Subscription, error)

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

	// ID is the number by which the server knows the connection, 0 as long as
	// it was never up. A connection that is made anew has another one, before
	// its first message comes in.
	ID() ConnID
}

// ConnID is a server's number for one connection, not used again while the
// server runs. No connection has 0.
type ConnID uint64

// Server is what the process that a bus runs in knows of its connections,
// beyond what can be had by one of them.
type Server interface {
	// Subscriptions are those that cover the subject; all of them if it is "".
	Subscriptions(subject string) ([]ServerSubscription, error)

	// ClientName is what a connection calls itself, "" if it is gone.
	ClientName(id ConnID) string

	// Disconnect ends a connection at once: what it publishes from then on is
	// not heard, and nothing more goes to it. One that is gone is no error.
	Disconnect(id ConnID) error

	// OnConnection calls fn for each connection that is made from now on (up),
	// and for each that ends, when its subscriptions are gone; one call at a
	// time. stop ends the calls; none runs when it returns. fn must not call
	// it.
	OnConnection(fn func(id ConnID, up bool)) (stop func(), err error)
}

// ServerSubscription is a subscription as the server sees it.
type ServerSubscription struct {
	Conn    ConnID
	Subject string // as it was subscribed to, wildcards and all
	Queue   string // the queue group, "" if none
}

// Subscription is what Subscribe and QueueSubscribe return.
type Subscription interface {
	// Drain leaves: the server sends nothing more, what it has sent already is
	// delivered. It returns when the last callback has, with ErrClosed when the
	// connection is closed first, or with the cause of ctx when that ends; the
	// subscription goes on leaving then, and another Drain waits again. Given
	// some of the subjects, it leaves those and stays on the others.
	Drain(ctx context.Context, subjects ...string) error

	// Dropped counts the messages that found the buffer full.
	Dropped() uint64
}
