package configs

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/certs"
)

// maxCertFile bounds the files of a certificate and its key, in bytes.
const maxCertFile = 256 << 10

// absolute makes a path absolute that the file says: it starts at that file's
// directory.
func (l *loader) absolute(key string, path *string) (ok bool) {
	if l.dir == "" || *path == "" || l.origin(key).Line == 0 || filepath.IsAbs(*path) {
		return true
	}
	whole, err := filepath.Abs(filepath.Join(l.dir, *path))
	if err != nil {
		l.bad(key, "%w", err)
		return false
	}
	*path = whole
	return true
}

// Client is what a program needs to connect to registers and buses, or nil without
// TLS. The log is told if the certificate that it shows is over.
func (t TLS) Client(log *slog.Logger) (*tls.Config, error) {
	if !t.On() {
		return nil, nil
	}
	c, err := certs.Load(certs.Files{Cert: t.Cert, Key: t.Key, CA: t.CA}, log)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c.Client(), nil
}

// certificates finds the files of the certificates, and reads them: a gateway would
// not start without.
func (l *loader) certificates() {
	l.checkTLS()
	g := l.config.Gateway
	if g == nil {
		return
	}
	l.certificate("gateway.tls", &g.TLS)
	for i := range g.Listeners {
		l.certificate(element("gateway.listeners", i)+".tls", &g.Listeners[i].TLS)
	}
	l.tokenKeys("gateway.jwt.keys.file", &g.JWT.Keys.File, false)
	l.tokenKeys("gateway.jwt.keys.hmac_file", &g.JWT.Keys.HMACFile, true)
}

func (l *loader) certificate(key string, t *gateway.TLS) { l.keyPair(key, &t.Cert, &t.Key) }

// checkTLS checks what the links of NATS have, and reads the files.
func (l *loader) checkTLS() {
	t := &l.config.TLS
	l.keyPair("tls", &t.Cert, &t.Key)
	switch {
	case t.Cert == "" && t.Key != "":
		l.bad("tls.cert", "there is a key without a certificate; name the file of that, or remove the key")
	case t.Cert != "" && t.Key == "":
		l.bad("tls.key", "there is a certificate without a key; name the file of that, or remove the certificate")
	case t.Cert == "" && t.On() && (l.config.RegisterIsOwn() || l.config.BusIsOwn()):
		l.bad("tls.cert", "this host has a register or gateway, which others connect to with TLS; name the files of its certificate and key")
	}
	switch {
	case t.CA == "" && t.Verify:
		l.bad("tls.verify", "the authorities of the system would vouch for anybody; name your own with tls.ca")
	case t.CA == "" || !l.absolute("tls.ca", &t.CA):
	default:
		data, err := l.read(t.CA, maxCertFile)
		if err != nil {
			l.bad("tls.ca", "%s cannot be read: %w", t.CA, reason(err))
		} else if _, err := certs.Pool(data); err != nil {
			l.bad("tls.ca", "%s: %w", t.CA, err)
		}
	}
}

// keyPair finds the files of a certificate and its key, and reads them.
func (l *loader) keyPair(key string, certFile, keyFile *string) {
	if !l.absolute(key+".cert", certFile) || !l.absolute(key+".key", keyFile) || *certFile == "" || *keyFile == "" {
		return
	}
	cert, err := l.read(*certFile, maxCertFile)
	if err != nil {
		l.bad(key+".cert", "%s cannot be read: %w", *certFile, reason(err))
		return
	}
	secret, err := l.read(*keyFile, maxCertFile)
	if err != nil {
		l.bad(key+".key", "%s cannot be read: %w", *keyFile, reason(err))
		return
	}
	if _, err := tls.X509KeyPair(cert, secret); err != nil {
		l.bad(key, "%s with the key %s: %w", *certFile, *keyFile, err)
	}
}

// tokenKeys finds a file of keys, and reads it.
func (l *loader) tokenKeys(key string, path *string, hmac bool) {
	if !l.absolute(key, path) || *path == "" {
		return
	}
	data, err := l.read(*path, maxCertFile)
	if err != nil {
		l.bad(key, "%s cannot be read: %w", *path, reason(err))
		return
	}
	if err := gateway.CheckKeys(data, hmac); err != nil {
		l.bad(key, "%s: %w", *path, err)
	}
}
