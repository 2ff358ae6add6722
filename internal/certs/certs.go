// Package certs makes TLS configurations, for servers and for clients, of the
// files of one host: its certificate and key, and the authorities whose
// certificates it believes.
//
// The files are looked at again at every handshake. When they have changed they
// are read, so a certificate that is renewed in place is in use from the next
// connection on, without a restart; connections that stand are not touched. Files
// that are not good leave what was read before in use, and are complained about
// once. There is one exception: what a client believes is what was read when
// [Certs.Client] was called, since a TLS client is given it before the handshake.
//
// Only TLS 1.2 and later are spoken. All methods are safe for concurrent use.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files names PEM files. All may be empty: a client needs no certificate if
// nobody asks for one, and without CA the authorities of the system are believed.
type Files struct {
	// Cert has the certificate and, behind it, those up to the root; Key its
	// private key. Both or none.
	Cert, Key string
	// CA has the certificates of authorities.
	CA string
}

// Certs is what was read of the files of a host.
type Certs struct {
	// set at construction
	log *slog.Logger

	mu    sync.Mutex
	files Files
	seen  [3]stamp // of the files that were looked at last
	state state
}

// state is one reading of the files. It is not changed.
type state struct {
	cert  *tls.Certificate // nil: none
	roots *x509.CertPool   // nil: those of the system
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// Load reads the files. The log is told of a certificate that is over, of files
// that change, and of such that are not good any more.
func Load(files Files, log *slog.Logger) (*Certs, error) {
	c := &Certs{files: files, log: log, seen: files.stamps()}
	s, err := files.read()
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	c.state = s
	c.warnOfTime()
	return c, nil
}

// Use has other files used from the next connection on, and reads them, be they changed
// or not. If they are not good, those before stay in use. What
// a configuration of [Certs.Client] or [Certs.Peer] believes stays; another one has to
// be made for that.
func (c *Certs) Use(files Files) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := files.stamps()
	s, err := files.read()
	if err != nil {
		return fmt.Errorf("certs: %w", err)
	}
	c.files, c.seen, c.state = files, stamps, s
	c.warnOfTime()
	return nil
}

func (f Files) read() (s state, err error) {
	if f.Cert != "" || f.Key != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return s, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
		}
		s.cert = &pair
	}
	if f.CA != "" {
		data, err := os.ReadFile(f.CA)
		if err != nil {
			return s, err
		}
		if s.roots, err = Pool(data); err != nil {
			return s, fmt.Errorf("%s: %w", f.CA, err)
		}
	}
	return s, nil
}

// Pool reads the certificates of authorities.
func Pool(pem []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		return nil, errors.New("it has no certificate in PEM form")
	}
	return p, nil
}

func (f Files) stamps() (all [3]stamp) {
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

// current is what the files have now.
func (c *Certs) current() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := c.files.stamps()
	if stamps == c.seen {
		return c.state
	}
	c.seen = stamps
	s, err := c.files.read()
	if err != nil {
		// Perhaps one file is written and the other not yet: that changes the
		// stamps again.
		c.log.Warn("the changed files of the certificate are not good; those read before stay in use", "err", err)
		return c.state
	}
	c.state = s
	c.log.Info("the files of the certificate have changed and are in use", "cert", c.files.Cert)
	c.warnOfTime()
	return s
}

// warnOfTime says if others will not accept the certificate for its time.
func (c *Certs) warnOfTime() {
	if c.state.cert == nil {
		return
	}
	leaf := c.state.cert.Leaf
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		c.log.Warn("the certificate is not valid at this time; others will refuse it",
			"cert", c.files.Cert, "not_before", leaf.NotBefore, "not_after", leaf.NotAfter)
	}
}

// Server is the configuration of a listener. With verify, who connects must show
// a certificate of one of the authorities. It needs a certificate.
func (c *Certs) Server(verify bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s := c.current()
			if s.cert == nil {
				return nil, errors.New("certs: no certificate")
			}
			t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.cert}}
			if verify {
				t.ClientAuth, t.ClientCAs = tls.RequireAndVerifyClientCert, s.roots
			}
			return t, nil
		},
	}
}

// Client is the configuration of who connects: the other side must show a
// certificate of one of the authorities, for the name or address that is dialed.
// The own certificate is shown to who asks for it.
func (c *Certs) Client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    c.current().roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if s := c.current(); s.cert != nil {
				return s.cert, nil
			}
			return new(tls.Certificate), nil // none
		},
	}
}

// Peer is the configuration of one that listens and connects. If CA is set, both
// sides show a certificate; the authorities of the system vouch for too many.
func (c *Certs) Peer() *tls.Config {
	t := c.Client()
	c.mu.Lock()
	verify := c.files.CA != ""
	c.mu.Unlock()
	t.GetConfigForClient = c.Server(verify).GetConfigForClient
	return t
}
