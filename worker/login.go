package worker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
)

// authenticate prepares how the worker logs in.
func (w *Worker) authenticate() error {
	w.role = keys.RoleWorker
	if w.handler == nil {
		w.role = keys.RoleApplication // which no server would give an event
	}
	shared, err := w.cfg.NATS.Options()
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	inbox := nats.CustomInboxPrefix(keys.InboxPrefix(w.role))
	w.shared = append(shared, inbox)
	switch {
	case w.cfg.Secret != "":
		w.auth = []nats.Option{inbox}
	case !w.cfg.NATS.IsZero():
		w.auth = slices.Clone(w.shared)
	}
	l, err := w.newLogin(w.cfg.Secret, w.cfg.TLS)
	w.login.Store(l)
	return err
}

func (w *Worker) newLogin(secret string, t *tls.Config) (*bus.Login, error) {
	l := &bus.Login{TLS: t}
	if secret == "" {
		return l, nil
	}
	k, err := keys.Derive(secret)
	if err != nil {
		return nil, fmt.Errorf("worker: secret: %w", err)
	}
	l.Public, l.Sign = k.Public(w.role), k.Signer(w.role)
	return l, nil
}

// currentLogin is how the worker logs in to registers and to buses of gateways.
func (w *Worker) currentLogin() bus.Login { return *w.login.Load() }

// sharedLogin is how it logs in to a bus that gateways share, which knows no secret.
func (w *Worker) sharedLogin() bus.Login { return bus.Login{TLS: w.login.Load().TLS} }

// SetLogin has the worker log in with another secret, and with another TLS
// configuration, from its next attempt to connect on; they are what Config.Secret and
// Config.TLS are, and whether there is one at all must not change. Links that stand log
// in anew, each as soon as its gateway takes the new secret, and work on with the old
// one until then: what is held stays held, and is answered. A link is down for some
// milliseconds meanwhile: what is pushed over it in that time fails. Given what there is
// already, it changes nothing. An error says what is wrong, and nothing has changed. It
// may be called at any time, by one goroutine at a time.
func (w *Worker) SetLogin(secret string, t *tls.Config) error {
	secret = strings.TrimSpace(secret)
	before := w.login.Load()
	switch {
	case (secret == "") != (before.Public == ""):
		return errors.New("worker: secret: whether there is one is decided when the worker is made")
	case (t == nil) != (before.TLS == nil):
		return errors.New("worker: TLS: whether it is spoken is decided when the worker is made")
	}
	l, err := w.newLogin(secret, t)
	if err != nil {
		return err
	}
	w.login.Store(l)
	if l.Public == before.Public { // what TLS believes is for connections to come
		return nil
	}
	w.log.Info("logging in with another secret")
	w.mu.Lock()
	registers := w.registers
	w.mu.Unlock()
	if registers != nil {
		registers.Renew()
	}
	for _, l := range w.allLinks() {
		if l.member.Bus == "" {
			l.logInAnew()
		}
	}
	return nil
}

// keepRegisters notes the connection to the registers for SetLogin. login is how it was
// made.
func (w *Worker) keepRegisters(conn *bus.NATS, login *bus.Login) {
	w.mu.Lock()
	w.registers = conn
	w.mu.Unlock()
	if w.login.Load().Public != login.Public {
		conn.Renew()
	}
}
