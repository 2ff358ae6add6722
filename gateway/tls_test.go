package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certified is a certificate that is made for tests.
func certified(t *testing.T) TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), DNSNames: []string{"gateway"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := TLS{Cert: filepath.Join(dir, "crt.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: cert}, files.Key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// clientTLS is a client of a server with that certificate, and no other.
func clientTLS(t *testing.T, files TLS) *tls.Config {
	t.Helper()
	cert, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &tls.Config{RootCAs: roots, ServerName: "gateway"}
}

// A certificate can be read anew while it is in use, and one that is no good is not
// taken.
func TestCertificateIsReadAnew(t *testing.T) {
	first, second := certified(t), certified(t)
	c := &certificate{files: first}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	was, _ := c.get(nil)
	c.files = TLS{Cert: first.Cert, Key: second.Key}
	if err := c.load(); err == nil {
		t.Error("a certificate with the key of another was taken")
	}
	if now, _ := c.get(nil); now != was {
		t.Error("the good one is gone")
	}
	c.files = second
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	if now, _ := c.get(nil); now == was {
		t.Error("the old one is in use")
	}
}

// A reload reads the certificates of all listeners anew. One that is no good is said,
// and the old one stays.
func TestReloadReadsCertificates(t *testing.T) {
	files, other := certified(t), certified(t)
	inBubble(t, func(c *Config) { c.TLS = files }, func(t *testing.T, f *fixture) {
		c := f.gw.listeners[0].certificate
		if err := c.load(); err != nil {
			t.Fatal(err)
		}
		was, _ := c.get(nil)
		replace := func(path, by string) {
			t.Helper()
			data, err := os.ReadFile(by)
			if err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		replace(files.Cert, other.Cert) // with the key of the old one still
		if err := f.gw.Reload(*f.gw.config()); err == nil || !strings.Contains(err.Error(), "listener default: certificate "+files.Cert) {
			t.Errorf("a certificate with the key of another: %v", err)
		}
		if now, _ := c.get(nil); now != was {
			t.Error("the good one is gone")
		}
		replace(files.Key, other.Key)
		if err := f.gw.Reload(*f.gw.config()); err != nil {
			t.Error(err)
		}
		if now, _ := c.get(nil); now == was {
			t.Error("the old one is in use")
		}
	})
}

// Who connects and does not begin with TLS is not waited for without end.
func TestTLSHandshakeTimeout(t *testing.T) {
	files := certified(t)
	inBubble(t, func(c *Config) {
		c.TLS = files
		c.Listeners = []Listener{{Listen: "127.0.0.1:1", Protocol: ProtocolFrame, TLS: files}}
	}, func(t *testing.T, f *fixture) {
		for _, l := range append(f.others, f.listener) {
			for _, say := range []string{"", framed("hello")} {
				conn, err := l.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				go func() { _, _ = io.WriteString(conn, say) }()
				if _, err := io.Copy(&bytes.Buffer{}, conn); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > f.gw.config().HandshakeTimeout+time.Second {
					t.Errorf("closed after %v", took)
				}
				_ = conn.Close()
			}
		}
		equal(t, "clients", f.gw.Stats().EventsIn, 0)
	})
}
