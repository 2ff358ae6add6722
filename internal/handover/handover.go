// Package handover passes the listening sockets of a process to the one that replaces
// it, over a unix socket: the holder is the process that has them, the successor the
// one that takes them.
//
// A socket that is passed is never closed in between: who connects meanwhile waits in
// its queue and is accepted by the one or the other.
//
// # Steps
//
// The successor connects and says who it is, and the holder answers with its sockets.
// Both have them then, and the holder accepts as before. The successor gets ready, and
// has the holder stand aside when it wants to be known to others under the same name;
// the holder serves on. At last the successor takes over, and the holder accepts no
// more. Each step is asked for with one line of JSON and answered with one.
//
// # Guarantees
//
//   - Until the successor has taken over, its end, its silence for [Patience], or an
//     error leave the holder as it was: it resumes.
//   - After that the holder never resumes, whatever becomes of the successor.
//   - A holder has one successor at a time; a second one is told so.
//   - A holder that ends in the middle does not stop the successor: it has the sockets.
//     One that gives the successor up says so, and then the successor must not go on.
//
// Whoever can connect to the unix socket can take over: only its owner can, by its mode.
package handover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	// Patience is how long a holder waits for its successor from the first word to
	// the last one.
	Patience = time.Minute
	// answerTimeout is how long either side waits for what the other one has at hand. The
	// answer of who is to hand over is waited for longer, for Patience: or a holder that
	// was held up would hand over to a successor that has given up.
	answerTimeout = 10 * time.Second
	// version is that of the words between the two.
	version = 1
	// maxLine bounds a message, in bytes.
	maxLine = 64 << 10
	// maxSockets is how many sockets can be passed: what the kernel takes at a time.
	maxSockets = 250
)

// ErrHolderGone is wrapped by the errors of a successor whose holder has ended without a
// word. The successor goes on with the sockets that it has.
var ErrHolderGone = errors.New("the process that was to be replaced has ended")

// Socket is a listening socket, and what it was opened for.
type Socket struct {
	// Kind tells sockets of different use apart.
	Kind string
	// Name is what the socket is called among those of its kind.
	Name string
	// Listen is the address as the configuration has it, from which its own may differ.
	Listen   string
	Listener net.Listener
}

// label is a Socket on the wire.
type label struct {
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	Listen string `json:"listen"`
}

// step says what a message is for.
type step string

const (
	hello step = "hello"
	offer step = "offer"
	aside step = "aside" // asked for, and done
	take  step = "take"  // likewise
	no    step = "no"    // Error says why
)

// message is what the two say to each other.
type message struct {
	Step    step     `json:"step"`
	Version int      `json:"version,omitempty"`
	Gateway string   `json:"gateway,omitempty"`
	PID     int      `json:"pid,omitempty"`
	Missing []string `json:"missing,omitempty"`
	Sockets []label  `json:"sockets,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// line is a connection between the two. One goroutine uses it at a time.
type line struct {
	conn  *net.UnixConn
	rest  []byte
	files []int // that came with what was read, and nobody has asked for yet
}

// send sends a message, with descriptors.
func (l *line) send(m message, fds ...int) error {
	data, err := json.Marshal(m)
	if err != nil { // cannot be: plain texts and numbers
		panic(err)
	}
	data = append(data, '\n')
	if len(data) > maxLine {
		return fmt.Errorf("a message of %d bytes, of at most %d", len(data), maxLine)
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(answerTimeout)) // of one that is closed, the write says so
	oob, err := rights(fds)
	if err != nil {
		return err
	}
	n, _, err := l.conn.WriteMsgUnix(data, oob, nil)
	if err == nil && n < len(data) {
		_, err = l.conn.Write(data[n:])
	}
	return err
}

// receive waits for the next message, until the deadline or the end of ctx.
func (l *line) receive(ctx context.Context, deadline time.Time) (message, error) {
	_ = l.conn.SetReadDeadline(deadline)                                                      // of one that is closed, the read says so
	unblock := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }) // likewise
	defer unblock()
	buf, oob := make([]byte, 4096), make([]byte, rightsSpace(maxSockets))
	for {
		if text, rest, ok := bytes.Cut(l.rest, []byte("\n")); ok {
			l.rest = rest
			var m message
			if err := json.Unmarshal(text, &m); err != nil {
				return m, fmt.Errorf("what the other side says is not understood: %w", err)
			}
			if m.Step == no {
				return m, errors.New(m.Error)
			}
			return m, nil
		}
		if len(l.rest) > maxLine {
			return message{}, fmt.Errorf("a message of more than %d bytes", maxLine)
		}
		n, oobn, _, _, err := l.conn.ReadMsgUnix(buf, oob)
		if oobn > 0 {
			fds, err := parseRights(oob[:oobn])
			if err != nil {
				return message{}, err
			}
			l.files = append(l.files, fds...)
		}
		l.rest = append(l.rest, buf[:max(n, 0)]...) // n is -1 with some errors
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			return message{}, err
		}
	}
}

// want is receive for one kind of message.
func (l *line) want(ctx context.Context, s step, deadline time.Time) (message, error) {
	m, err := l.receive(ctx, deadline)
	if err == nil && m.Step != s {
		err = fmt.Errorf("the other side says %q where %q was expected", m.Step, s)
	}
	return m, err
}

// close ends the connection, and gives back what nobody has asked for.
func (l *line) close() {
	_ = l.conn.Close() // what was to be said was said
	for _, fd := range l.files {
		_ = os.NewFile(uintptr(fd), "socket").Close() // likewise
	}
	l.files = nil
}

// listeners makes listeners of the descriptors that came.
func (l *line) listeners(labels []label) ([]Socket, error) {
	if len(labels) != len(l.files) {
		return nil, fmt.Errorf("%d sockets were announced, and %d came", len(labels), len(l.files))
	}
	var sockets []Socket
	for i, fd := range l.files {
		file := os.NewFile(uintptr(fd), labels[i].Listen)
		ln, err := net.FileListener(file)
		_ = file.Close() // the listener has its own
		if err != nil {
			l.files = l.files[i+1:]
			CloseAll(sockets)
			return nil, fmt.Errorf("the socket of %s cannot be used: %w", labels[i].Listen, err)
		}
		sockets = append(sockets, Socket{labels[i].Kind, labels[i].Name, labels[i].Listen, ln})
	}
	l.files = nil
	return sockets, nil
}

// CloseAll closes the sockets as this process has them. The path of a unix socket stays.
func CloseAll(sockets []Socket) {
	for _, s := range sockets {
		Release(s.Listener)
	}
}

// Release closes a socket that another process has too: the path of a unix socket stays.
func Release(ln net.Listener) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	_ = ln.Close() // nothing can be done about it
}
