package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// ErrBroken is wrapped by the errors about promises that were not kept: an
// answer twice, not at all, out of order or to somebody else, or a connection
// lost.
var ErrBroken = errors.New("a promise is broken")

// Numbered is a WebSocket client of a gateway whose workers echo. It sends
// numbered frames in a closed loop and wants each number back exactly once and
// in order.
type Numbered struct {
	// URL is where to connect: ws://host:port/path.
	URL string
	// Name is part of each frame: an answer to another client's is noticed.
	Name string
	// Frames is how many to send; 0 means until Stop.
	Frames int
	// Stop, when it is closed, has the client send no more, wait for the
	// answers that it is owed, and end.
	Stop <-chan struct{}
	// Window is how many frames may be unanswered; 0 means 1.
	Window int
	// Every is the least time between two frames; 0 means none.
	Every time.Duration
	// Size is the least size of a frame, in bytes.
	Size int
	// Binary says to send binary frames instead of text.
	Binary bool
	// Header is added to the handshake.
	Header http.Header

	// Closes are the close codes with which the gateway may end the
	// connection, and with it the run. Frames not answered then are lost, and
	// that is fine.
	Closes []int
	// Reconnect says that a connection may be lost in any way: the client
	// connects again and goes on with the first number that was not answered.
	Reconnect bool

	// OnConnect and OnAnswer, if set, are called at each.
	OnConnect, OnAnswer func()
}

// Tally is what a run came to.
type Tally struct {
	Sent     int // frames, those sent again after a lost connection included
	Answered int // numbers, each once
	Connects int
	// Close is the code the gateway ended the connection with, one of Closes;
	// 1000 if the client ended it.
	Close int
	// Slowest is the longest time that an answer took.
	Slowest time.Duration
}

// Run connects, and returns when all is sent and answered, when the gateway has
// closed the connection, or with an error: ErrBroken, or what else is wrong.
func (n *Numbered) Run(ctx context.Context) (Tally, error) {
	var t Tally
	for {
		again, err := n.session(ctx, &t)
		switch {
		case err == nil:
			return t, nil
		case !again || !n.Reconnect || ctx.Err() != nil:
			return t, fmt.Errorf("testbed: client %s, %d sent, %d answered: %w", n.Name, t.Sent, t.Answered, err)
		}
		if !n.pause(ctx) {
			return t, nil
		}
	}
}

// pause waits a moment before the next attempt to connect; false to end.
func (n *Numbered) pause(ctx context.Context) bool {
	timer := time.NewTimer(20 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-n.Stop:
		return false
	}
	return true
}

// frame is the frame with a number.
func (n *Numbered) frame(number int) string {
	f := fmt.Sprintf("%s %d ", n.Name, number)
	if len(f) < n.Size {
		f += strings.Repeat("·", (n.Size-len(f)+1)/2) // two bytes, to notice a mangled encoding
	}
	return f
}

// session is one connection.
type session struct {
	n    *Numbered
	conn *websocket.Conn
	// window has an entry for each unanswered frame: when it was sent.
	window chan time.Time
	// ended gets why reading ended, once.
	ended chan error
	// answered and slowest are the reader's until it has ended.
	answered int
	slowest  time.Duration
}

// session runs one connection and tells whether it was lost, so that another
// may be tried.
func (n *Numbered) session(ctx context.Context, t *Tally) (lost bool, err error) {
	dialer := websocket.Dialer{HandshakeTimeout: Patience}
	conn, resp, err := dialer.DialContext(ctx, n.URL, n.Header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return true, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	t.Connects++
	if n.OnConnect != nil {
		n.OnConnect()
	}
	s := &session{
		n: n, conn: conn,
		window:   make(chan time.Time, max(n.Window, 1)),
		ended:    make(chan error, 1),
		answered: t.Answered,
	}
	go s.read()
	sent, done, err := s.write(ctx, t.Answered)
	if !done {
		// What ended the connection is for the reader to say; a write that
		// failed only says that it did.
		if err != nil && ctx.Err() != nil {
			conn.Close()
		}
		_ = conn.SetReadDeadline(time.Now().Add(Patience)) // fails only on a closed connection
		readErr := <-s.ended
		if err == nil || ctx.Err() == nil {
			err = readErr
		}
	}
	t.Sent += sent
	t.Answered = s.answered
	t.Slowest = max(t.Slowest, s.slowest)
	return n.verdict(t, done, err)
}

// verdict says what the end of a session means.
func (n *Numbered) verdict(t *Tally, done bool, err error) (lost bool, _ error) {
	var ce *websocket.CloseError
	switch {
	case done && websocket.IsCloseError(err, websocket.CloseNormalClosure):
		t.Close = websocket.CloseNormalClosure
		return false, nil
	case errors.As(err, &ce) && slices.Contains(n.Closes, ce.Code):
		t.Close = ce.Code
		return false, nil
	case errors.Is(err, ErrBroken), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false, err
	}
	return true, fmt.Errorf("%w: the connection was lost: %w", ErrBroken, err)
}

// write sends the frames from number on and waits until all are answered. done
// means that they were, and err is then how the connection was closed.
func (s *session) write(ctx context.Context, number int) (sent int, done bool, err error) {
	kind := websocket.TextMessage
	if s.n.Binary {
		kind = websocket.BinaryMessage
	}
	var pace <-chan time.Time
	if s.n.Every > 0 {
		ticker := time.NewTicker(s.n.Every)
		defer ticker.Stop()
		pace = ticker.C
	}
	for s.n.Frames == 0 || number < s.n.Frames {
		if pace != nil {
			select {
			case <-pace:
			default:
				select {
				case <-pace:
				case <-s.n.Stop:
				case err := <-s.ended:
					s.ended <- err
					return sent, false, nil
				case <-ctx.Done():
					return sent, false, context.Cause(ctx)
				}
			}
		}
		select {
		case <-s.n.Stop:
			return s.finish(ctx, sent)
		default:
		}
		select {
		case s.window <- time.Now():
		case <-s.n.Stop:
			return s.finish(ctx, sent)
		case err := <-s.ended:
			s.ended <- err
			return sent, false, nil
		case <-ctx.Done():
			return sent, false, context.Cause(ctx)
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(Patience)) // fails only on a closed connection
		if err := s.conn.WriteMessage(kind, []byte(s.n.frame(number))); err != nil {
			return sent, false, err
		}
		number++
		sent++
	}
	return s.finish(ctx, sent)
}

// finish waits for the answers that are owed, and closes the connection.
func (s *session) finish(ctx context.Context, sent int) (_ int, done bool, err error) {
	for range cap(s.window) { // a full window of these is an empty one of frames
		select {
		case s.window <- time.Time{}:
		case err := <-s.ended:
			s.ended <- err
			return sent, false, nil
		case <-ctx.Done():
			return sent, false, fmt.Errorf("%w: answers are missing: %w", ErrBroken, context.Cause(ctx))
		}
	}
	deadline := time.Now().Add(Patience)
	msg := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.conn.WriteControl(websocket.CloseMessage, msg, deadline) // the reader says why
	_ = s.conn.SetReadDeadline(deadline)
	return sent, true, <-s.ended
}

// read checks the answers until the connection ends.
func (s *session) read() {
	for {
		kind, data, err := s.conn.ReadMessage()
		if err == nil {
			err = s.check(kind, string(data))
		}
		if err != nil {
			s.ended <- err
			return
		}
		var sent time.Time
		select {
		case sent = <-s.window:
		default:
		}
		if sent.IsZero() {
			s.ended <- fmt.Errorf("%w: answer %.80q to a frame that was not sent or was answered", ErrBroken, data)
			return
		}
		s.slowest = max(s.slowest, time.Since(sent))
		s.answered++
		if s.n.OnAnswer != nil {
			s.n.OnAnswer()
		}
	}
}

// check tells whether data is the answer that is due.
func (s *session) check(kind int, data string) error {
	want := s.n.frame(s.answered)
	switch {
	case kind == websocket.BinaryMessage != s.n.Binary:
		return fmt.Errorf("%w: the answer %.80q is of the wrong kind", ErrBroken, data)
	case data == want:
		return nil
	}
	var name string
	var number int
	if _, err := fmt.Sscanf(data, "%s %d", &name, &number); err == nil && name == s.n.Name {
		switch {
		case number < s.answered:
			return fmt.Errorf("%w: number %d is answered twice, %d is due", ErrBroken, number, s.answered)
		case number > s.answered:
			return fmt.Errorf("%w: number %d is answered, %d is due", ErrBroken, number, s.answered)
		}
	}
	return fmt.Errorf("%w: answer %.80q, want %.80q", ErrBroken, data, want)
}
