package certs_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handshake has a client and a server shake hands and say a byte to each other,
// and returns the certificate that the client saw, and the errors of both.
func handshake(t *testing.T, server, client *tls.Config) (serial string, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(testbed.Patience))
			_, err = io.CopyN(tls.Server(nc, server), strings.NewReader("x"), 1)
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testbed.Patience))
	client = client.Clone()
	client.ServerName = "127.0.0.1"
	c := tls.Client(nc, client)
	if clientErr = c.Handshake(); clientErr == nil {
		serial = c.ConnectionState().PeerCertificates[0].SerialNumber.String()
		_, clientErr = c.Read(make([]byte, 1)) // a server refuses a client after that
	}
	nc.Close()
	return serial, <-done, clientErr
}

func load(t *testing.T, f certs.Files) (*certs.Certs, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	c, err := certs.Load(f, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c, &log
}

func TestWhoIsBelieved(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := testbed.NewAuthority(t, dir, "ours"), testbed.NewAuthority(t, dir, "theirs")
	issue := func(a *testbed.Authority, name string, until time.Time, hosts ...string) certs.Files {
		cert, key := a.Issue(t, name, until, hosts...)
		return certs.Files{Cert: cert, Key: key, CA: a.File}
	}
	ago := time.Now().Add(-time.Minute)
	good := issue(ours, "good", time.Time{}, "127.0.0.1")
	stranger := issue(theirs, "stranger", time.Time{}, "127.0.0.1")
	naive := certs.Files{Cert: stranger.Cert, Key: stranger.Key, CA: ours.File} // believes us
	for _, tt := range []struct {
		name           string
		server, client certs.Files
		verify         bool
		says           string // "" if they understand each other
	}{
		{"one side", good, certs.Files{CA: ours.File}, false, ""},
		{"both sides", good, good, true, ""},
		{"a server of another authority", stranger, good, false, "unknown authority"},
		{"a server of no authority of the system", good, certs.Files{}, false, "unknown authority"},
		{"a server for another name", issue(ours, "elsewhere", time.Time{}, "127.0.0.2", "localhost"), good, false, "not 127.0.0.1"},
		{"a server whose time is over", issue(ours, "old", ago, "127.0.0.1"), good, false, "expired"},
		{"a client without a certificate", good, certs.Files{CA: ours.File}, true, "certificate"},
		{"a client of another authority", good, naive, true, "authority"},
		{"a client whose time is over", good, issue(ours, "late", ago), true, "expired"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, _ := load(t, tt.server)
			client, _ := load(t, tt.client)
			_, serverErr, clientErr := handshake(t, server.Server(tt.verify), client.Client())
			both := errors.Join(serverErr, clientErr)
			if (both == nil) != (tt.says == "") || both != nil && !strings.Contains(both.Error(), tt.says) {
				t.Errorf("server: %v\nclient: %v\nwant %q", serverErr, clientErr, tt.says)
			}
			if tt.says != "" && clientErr == nil {
				t.Error("the client noticed nothing")
			}
		})
	}
	// Who is both shows and demands, in both directions.
	peer, _ := load(t, good)
	if _, serverErr, clientErr := handshake(t, peer.Peer(), peer.Peer()); serverErr != nil || clientErr != nil {
		t.Errorf("peers: %v, %v", serverErr, clientErr)
	}
	bare, _ := load(t, certs.Files{CA: ours.File})
	if _, _, err := handshake(t, peer.Peer(), bare.Client()); err == nil {
		t.Error("a peer takes one that shows no certificate")
	}
}

// A certificate that is renewed in place is in use with the next connection, and
// one that is no good is not taken.
func TestRenewal(t *testing.T) {
	dir := t.TempDir()
	a := testbed.NewAuthority(t, dir, "ca")
	cert, key := a.Issue(t, "server", time.Time{}, "127.0.0.1")
	server, log := load(t, certs.Files{Cert: cert, Key: key, CA: a.File})
	client, _ := load(t, certs.Files{CA: a.File})
	conf := server.Server(false)
	serial := func() string {
		t.Helper()
		s, serverErr, clientErr := handshake(t, conf, client.Client())
		if err := errors.Join(serverErr, clientErr); err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := serial()
	if again := serial(); again != first {
		t.Errorf("certificate %s, then %s", first, again)
	}
	if err := os.WriteFile(cert, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	if still := serial(); still != first || strings.Count(log.String(), "are not good") != 1 {
		t.Errorf("certificate %s, then %s with a broken file; log:\n%s", first, still, log)
	}
	serial()
	if n := strings.Count(log.String(), "are not good"); n != 1 {
		t.Errorf("%d complaints about one broken file", n)
	}
	a.Issue(t, "server", time.Time{}, "127.0.0.1")
	second := serial()
	if second == first || !strings.Contains(log.String(), "have changed and are in use") {
		t.Errorf("certificate %s after the renewal; log:\n%s", second, log)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	a := testbed.NewAuthority(t, dir, "ca")
	cert, key := a.Issue(t, "a", time.Time{}, "127.0.0.1")
	_, other := a.Issue(t, "b", time.Time{}, "127.0.0.1")
	for says, f := range map[string]certs.Files{
		"no such file":         {Cert: cert, Key: dir + "/none"},
		"does not match":       {Cert: cert, Key: other},
		"no certificate in":    {CA: key},
		"/none: no such file ": {CA: dir + "/none"},
	} {
		if _, err := certs.Load(f, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", f, err, says)
		}
	}
	old, oldKey := a.Issue(t, "old", time.Now().Add(-time.Minute), "127.0.0.1")
	if _, log := load(t, certs.Files{Cert: old, Key: oldKey}); !strings.Contains(log.String(), "others will refuse it") || strings.Contains(log.String(), key) {
		t.Errorf("of a certificate that is over it says:\n%s", log)
	}
}

// Other files are used from the next connection on, by servers and by clients that ask
// for their configuration then; files that are no good change nothing.
func TestUse(t *testing.T) {
	a, b := testbed.NewAuthority(t, t.TempDir(), "a"), testbed.NewAuthority(t, t.TempDir(), "b")
	issue := func(by *testbed.Authority) certs.Files {
		cert, key := by.Issue(t, "host", time.Time{}, "127.0.0.1")
		return certs.Files{Cert: cert, Key: key, CA: by.File}
	}
	server, _ := load(t, issue(a))
	client, _ := load(t, issue(a))
	conf := server.Server(true)
	works := func(want bool) {
		t.Helper()
		_, serverErr, clientErr := handshake(t, conf, client.Client())
		if err := errors.Join(serverErr, clientErr); (err == nil) != want {
			t.Errorf("it works: %v, want %v", err, want)
		}
	}
	works(true)
	if err := server.Use(certs.Files{Cert: a.File, Key: a.File}); err == nil {
		t.Error("files that are no good are taken")
	}
	works(true)
	for _, c := range []*certs.Certs{server, client} {
		if err := c.Use(issue(b)); err != nil {
			t.Fatal(err)
		}
		works(c == client)
	}
}
