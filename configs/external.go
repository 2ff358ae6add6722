package configs

import (
	"slices"
	"strings"
)

// BusIsOwn tells whether the gateway of this host runs its bus itself.
func (c *Config) BusIsOwn() bool { return c.Gateway != nil && len(c.Gateway.Bus.URL) == 0 }

// RegisterIsOwn tells whether the register of this host runs its NATS server itself.
func (c *Config) RegisterIsOwn() bool { return c.Register != nil && len(c.Register.URL) == 0 }

// BusHasRegisters tells whether the bus of the gateway is a cluster of your own that
// the registers are on as well: both name one of its servers, or there are no other
// credentials than those for it.
func (c *Config) BusHasRegisters() bool {
	if c.Gateway == nil || c.BusIsOwn() {
		return false
	}
	return c.RegistersAreYours() || slices.ContainsFunc(c.Registers, func(r string) bool {
		return slices.ContainsFunc(c.Gateway.Bus.URL, func(b string) bool { return hostOf(b) == hostOf(r) })
	})
}

// RegistersAreYours tells whether the credentials for a NATS cluster of your own are
// those for the registers.
func (c *Config) RegistersAreYours() bool { return c.Secret == "" && !c.NATS.Credentials().IsZero() }

// hostOf is the host:port of a NATS URL.
func hostOf(url string) string {
	_, addr, _ := strings.Cut(url, "://")
	return strings.ToLower(addr)
}

// checkExternal checks what is said of a NATS cluster that gatebus does not run.
func (l *loader) checkExternal() {
	c := l.config
	l.credentials()
	if c.Gateway != nil {
		l.checkURLs("gateway.bus.url", "gateway.bus.listen", c.Gateway.Bus.URL)
	}
	if c.Register != nil {
		l.checkURLs("register.url", "register.listen", c.Register.URL)
		if len(c.Register.URL) > 0 && c.Secret != "" {
			l.bad("register.url", "the secret is for registers with NATS servers of their own, and this one would be reached with it; "+
				"remove secret and secret_file, and set nats.user, nats.creds or nats.nkey")
		}
	}
}

// checkURLs brings the URLs of a cluster into one form.
func (l *loader) checkURLs(key, listen string, urls []string) {
	if len(urls) == 0 {
		return
	}
	if l.isSet(listen) {
		l.bad(key, "%s is set as well; remove one of the two", listen)
	}
	for i, s := range urls {
		url, err := natsURL(s, "", "a NATS server", "put them into nats.user and nats.password")
		if err != nil {
			l.badElement(key, i, "%w", err)
			continue
		}
		if strings.HasPrefix(url, "tls://") && !l.config.TLS.On() {
			l.badElement(key, i, "%s is for TLS, and no certificates are set; set tls.ca, or write nats://", url)
		}
		urls[i] = url
	}
}

// credentials finds the files of the credentials, and tries them.
func (l *loader) credentials() {
	n := &l.config.NATS
	if n.Password.IsMask() {
		l.bad("nats.password", "%q is the mask of a printed configuration; put the password itself in, or use nats.creds or nats.nkey", mask)
	}
	if !l.absolute("nats.creds", &n.Creds) || !l.absolute("nats.nkey", &n.NKey) {
		return
	}
	for key, file := range map[string]string{"nats.creds": n.Creds, "nats.nkey": n.NKey} {
		if file == "" {
			continue
		}
		if _, err := l.read(file, maxCertFile); err != nil {
			l.bad(key, "%s cannot be read: %w", file, reason(err))
			return
		}
	}
	if _, err := n.Credentials().Options(); err != nil {
		l.bad("nats", "%w", err)
	}
}
