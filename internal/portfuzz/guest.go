package portfuzz

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// guestEvery is between two frames of a guest that stays.
	guestEvery = 50 * time.Millisecond
	// newcomerEvery is between two guests that come anew.
	newcomerEvery = time.Second
	// newcomerFrames is how many frames such a one sends.
	newcomerFrames = 5
	// guestFrame is the largest frame of a guest, in bytes.
	guestFrame = 4000
)

// party is a guest's side of a connection.
type party interface {
	// echo sends a frame and wants it back within the deadline.
	echo(data []byte, deadline time.Time) error
	// leave says goodbye and waits for the other side's.
	leave(deadline time.Time) error
	close()
}

// visit connects a guest.
func (at door) visit(ctx context.Context) (party, error) {
	if at.protocol == "websocket" {
		d := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return at.dial(ctx) }}
		c, resp, err := d.DialContext(ctx, "ws://guest.example/", nil)
		if resp != nil && err != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		if err != nil {
			return nil, err
		}
		return socketParty{c}, nil
	}
	c, err := at.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &plainParty{at.protocol, c, bufio.NewReader(c)}, nil
}

type socketParty struct{ conn *websocket.Conn }

func (p socketParty) echo(data []byte, deadline time.Time) error {
	kind := websocket.TextMessage + int(data[0])%2 // or binary
	_ = p.conn.SetWriteDeadline(deadline)          // fails on a closed connection only
	_ = p.conn.SetReadDeadline(deadline)           // likewise
	if err := p.conn.WriteMessage(kind, data); err != nil {
		return err
	}
	gotKind, got, err := p.conn.ReadMessage()
	if err != nil {
		return err
	}
	if gotKind != kind || !bytes.Equal(got, data) {
		return fmt.Errorf("the answer to %.60q is %.60q, of kind %d and not %d", data, got, gotKind, kind)
	}
	return nil
}

func (p socketParty) leave(deadline time.Time) error {
	_ = p.conn.SetReadDeadline(deadline) // likewise
	if err := p.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline); err != nil {
		return err
	}
	_, _, err := p.conn.ReadMessage()
	if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return nil
	}
	return fmt.Errorf("instead of a goodbye: %w", err)
}

func (p socketParty) close() { p.conn.Close() }

// plainParty is one over a protocol without a handshake.
type plainParty struct {
	protocol string
	conn     net.Conn
	in       *bufio.Reader
}

func (p *plainParty) echo(data []byte, deadline time.Time) error {
	_ = p.conn.SetDeadline(deadline) // fails on a closed connection only
	var want []byte
	switch p.protocol {
	case "text":
		want = append(data, '\n')
	case "frame":
		want = append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+4)), data...)
	default:
		want = data
	}
	if _, err := p.conn.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.in, got); err != nil {
		return fmt.Errorf("%d bytes of %d: %w", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the answer to %.60q is %.60q", want, got)
	}
	return nil
}

func (p *plainParty) leave(deadline time.Time) error {
	_ = p.conn.SetDeadline(deadline) // likewise
	half, ok := p.conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
		return fmt.Errorf("instead of an end: %.60q, %w", rest, errors.Join(err))
	}
	return nil
}

func (p *plainParty) close() { p.conn.Close() }

// guestData is a frame that no protocol cuts: text without line breaks.
func guestData() []byte {
	s := rand.Text()
	return []byte(strings.Repeat(s, 1+mrand.IntN(guestFrame/len(s))))
}

// stay is a guest who stays until ctx ends, and then leaves.
func (h *hosting) stay(ctx context.Context, at door) {
	for h.round(ctx, at, -1) && ctx.Err() == nil {
		// It was harmed, which was told; the next one sees whether that goes on.
	}
}

// come are guests who come one after the other.
func (h *hosting) come(ctx context.Context, at door) {
	for h.round(ctx, at, newcomerFrames) && wait(ctx, newcomerEvery) {
	}
}

// round is one guest, who sends that many frames; -1: until ctx ends.
func (h *hosting) round(ctx context.Context, at door, frames int) bool {
	began := time.Now()
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.patience)
	defer cancel()
	p, err := at.visit(soon)
	if err != nil {
		h.harmed(at.name, "a guest cannot connect after %v: %v", time.Since(began).Round(time.Millisecond), err)
		return wait(ctx, newcomerEvery)
	}
	defer p.close()
	for n := 0; n != frames && ctx.Err() == nil; n++ {
		sent := time.Now()
		if err := p.echo(guestData(), sent.Add(h.patience)); err != nil {
			h.harmed(at.name, "a guest's frame %d, %v after it was sent: %v", n, time.Since(sent).Round(time.Millisecond), err)
			return wait(ctx, newcomerEvery)
		}
		h.answered(time.Since(sent))
		if frames < 0 && !wait(ctx, guestEvery) {
			break
		}
	}
	if err := p.leave(time.Now().Add(h.patience)); err != nil {
		h.harmed(at.name, "a guest leaves: %v", err)
	}
	return true
}
