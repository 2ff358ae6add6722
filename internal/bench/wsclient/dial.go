package wsclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" // as RFC 6455 asks
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"github.com/gatebus/gatebus/internal/wsframe"
	"net"
	"net/url"
	"strings"
	"time"
)

// Target is where clients connect.
type Target struct {
	addr, host, path string
	tls              bool
}

// ParseURL reads a ws:// or wss:// URL.
func ParseURL(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, err
	}
	port := map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	if port == "" || u.Hostname() == "" {
		return Target{}, fmt.Errorf("%q is no URL of a WebSocket server; write ws://host:port/ or wss://host/", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return Target{
		addr: net.JoinHostPort(u.Hostname(), port), host: u.Host,
		path: u.RequestURI(), tls: u.Scheme == "wss",
	}, nil
}

// Loopback tells whether the target is an IPv4 address of this machine's
// loopback network, where a client can come from any of 127/8.
func (t Target) Loopback() bool {
	host, _, _ := net.SplitHostPort(t.addr)
	ip := net.ParseIP(host)
	return ip != nil && ip.To4() != nil && ip.IsLoopback()
}

// maxResponse is the largest answer to a handshake, in bytes.
const maxResponse = 16 << 10

// Dial connects. from is the local address to come from; nil means any. A
// server that refuses is an error with what it says. ctx bounds all of it.
func (t Target) Dial(ctx context.Context, from net.IP) (*Conn, error) {
	d := &net.Dialer{KeepAlive: -1}
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	var (
		c   net.Conn
		err error
	)
	if t.tls {
		c, err = (&tls.Dialer{NetDialer: d}).DialContext(ctx, "tcp", t.addr)
	} else {
		c, err = d.DialContext(ctx, "tcp", t.addr)
	}
	if err != nil {
		return nil, err
	}
	w, err := t.handshake(ctx, c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return w, nil
}

func (t Target) handshake(ctx context.Context, c net.Conn) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	var (
		nonce [16]byte
		mask  wsframe.Key
	)
	_, _ = rand.Read(nonce[:]) // never fails
	_, _ = rand.Read(mask[:])  // likewise
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", t.path, t.host, key)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	head, early, err := readHead(c)
	if err != nil {
		return nil, causeOf(ctx, fmt.Errorf("handshake: %w", err))
	}
	if err := checkHead(head, key); err != nil {
		return nil, err
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return NewConn(c, mask, early), nil
}

// causeOf is why a call failed: the context, if that has ended.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// readHead reads the head of an HTTP response, and what comes with it.
func readHead(c net.Conn) (head string, early []byte, err error) {
	buf := make([]byte, 0, 1024)
	for {
		if i := bytes.Index(buf, []byte("\r\n\r\n")); i >= 0 {
			return string(buf[:i]), buf[i+4:], nil
		}
		if len(buf) >= maxResponse {
			return "", nil, fmt.Errorf("%w: its response has more than %d bytes", wsframe.ErrProtocol, maxResponse)
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			return "", nil, err
		}
	}
}

// checkHead tells whether the server has accepted the handshake.
func checkHead(head, key string) error {
	status, fields, _ := strings.Cut(head, "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return fmt.Errorf("the server refuses: %s", strings.TrimPrefix(status, "HTTP/1.1 "))
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	want := base64.StdEncoding.EncodeToString(sum[:])
	for line := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == want {
			return nil
		}
	}
	return fmt.Errorf("%w: its Sec-WebSocket-Accept does not answer the key", wsframe.ErrProtocol)
}
