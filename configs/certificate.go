package configs

import (
	"crypto/tls"
	"path/filepath"

	"github.com/gatebus/gatebus/gateway"
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

// certificates finds the files of the certificates, and reads them: a gateway would
// not start without.
func (l *loader) certificates() {
	g := l.config.Gateway
	if g == nil {
		return
	}
	l.certificate("gateway.tls", &g.TLS)
	for i := range g.Listeners {
		l.certificate(element("gateway.listeners", i)+".tls", &g.Listeners[i].TLS)
	}
}

func (l *loader) certificate(key string, t *gateway.TLS) {
	if !l.absolute(key+".cert", &t.Cert) || !l.absolute(key+".key", &t.Key) || t.Cert == "" || t.Key == "" {
		return
	}
	cert, err := l.read(t.Cert, maxCertFile)
	if err != nil {
		l.bad(key+".cert", "%s cannot be read: %w", t.Cert, reason(err))
		return
	}
	secret, err := l.read(t.Key, maxCertFile)
	if err != nil {
		l.bad(key+".key", "%s cannot be read: %w", t.Key, reason(err))
		return
	}
	if _, err := tls.X509KeyPair(cert, secret); err != nil {
		l.bad(key, "%s with the key %s: %w", t.Cert, t.Key, err)
	}
}
