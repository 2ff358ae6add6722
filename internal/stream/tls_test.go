package stream_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/stream"
)

// encrypted are the two ends of a TLS connection over a pipe, which holds nothing: what
// is written waits until it is read.
func encrypted(t *testing.T) (server, client *tls.Conn) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	s, c := net.Pipe()
	t.Cleanup(func() { _ = c.Close() })
	server = tls.Server(s, &tls.Config{
		MaxVersion:   tls.VersionTLS12, // nothing is written behind the handshake
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	})
	client = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server, client
}

// Abort does not wait for a peer that does not read: TLS has a last word for it. The
// connection ends soon all the same.
func TestAbortOfTLSDoesNotBlock(t *testing.T) {
	p := &stream.Pool{}
	server, _ := encrypted(t)
	u := take(t, p, server, &user{})
	start := time.Now()
	u.conn.Abort()
	if took := time.Since(start); took > 2*time.Second { // the last word would take 5 s
		t.Errorf("Abort took %v", took)
	}
	p.Close()
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// A peer that reads is told the end of a connection over TLS.
func TestAbortOfTLSSaysGoodbye(t *testing.T) {
	p := &stream.Pool{}
	server, client := encrypted(t)
	u := take(t, p, server, &user{})
	u.conn.Abort()
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("read %d, %v", n, err)
	}
	p.Close()
}
