package configs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// readSecrets reads the secret and the one that is accepted beside it.
func (l *loader) readSecrets() {
	c := l.config
	l.readSecret("secret", &c.Secret, &c.SecretFile)
	l.readSecret("accept_secret", &c.AcceptSecret, &c.AcceptSecretFile)
	if c.AcceptSecret != "" && c.Secret == "" && len(l.problems) == 0 {
		l.bad("accept_secret", "there is no secret beside which it could be accepted; set secret or secret_file, or remove it")
	}
}

// readSecret decides between a secret and its file, and reads that.
func (l *loader) readSecret(key string, secret *Secret, file *string) {
	*secret = Secret(strings.TrimSpace(string(*secret)))
	fileKey := key + "_file"
	if *secret != "" && *file != "" {
		switch text, path := l.origin(key).rank(), l.origin(fileKey).rank(); {
		case text > path:
			*file = ""
		case path > text:
			*secret = ""
		default:
			l.bad(fileKey, "%s is set as well; remove one of the two", key)
			return
		}
	}
	if *file == "" {
		l.checkSecret(key, *secret)
		return
	}
	if !l.absolute(fileKey, file) {
		return
	}
	data, err := l.read(*file, maxSecretFile)
	if err != nil {
		l.bad(fileKey, "%s cannot be read: %w", *file, reason(err))
		return
	}
	if *secret = Secret(bytes.TrimSpace(data)); *secret == "" {
		l.bad(fileKey, "%s is empty; write the secret into it, or remove the key", *file)
		return
	}
	l.checkSecret(fileKey, *secret)
}

// checkSecret checks a secret, which came from that key.
func (l *loader) checkSecret(key string, s Secret) {
	switch {
	case s == "":
	case s.IsMask():
		l.bad(key, "%q is the mask of a printed configuration; put the secret itself in, or use %s", mask, strings.TrimSuffix(key, "_file")+"_file")
	case len(s) < MinSecret:
		l.bad(key, "a secret of less than %d bytes can be guessed; make one with: openssl rand -hex 32", MinSecret)
	}
}

// deriveRegisters points a host with a register to that one, and one that is told of
// a NATS cluster of your own to that, if nothing else is said.
func (l *loader) deriveRegisters() {
	c := l.config
	switch own := c.OwnRegister(); {
	case l.isSet("registers"):
	case own != "":
		c.Registers = []string{own}
	case c.Register != nil && len(c.Register.URL) > 0:
		c.Registers = slices.Clone(c.Register.URL)
	case c.Gateway != nil && !c.BusIsOwn():
		c.Registers = slices.Clone(c.Gateway.Bus.URL)
	}
}

// check checks the values one by one, and then how they fit together. The
// latter is left out while something is wrong already: a misspelt secret would
// otherwise be followed by complaints that there is none.
func (l *loader) check() {
	c := l.config
	if c.Admin.Listen == "off" {
		c.Admin.Listen = ""
	}
	l.checkReady()
	l.checkLog()
	l.checkTracing()
	l.checkRegister()
	if c.Gateway != nil {
		l.validate(string(RoleGateway), c.Gateway.Validate())
	}
	if c.Worker != nil {
		l.validate(string(RoleWorker), c.Worker.Validate())
		l.validate("worker.handler", c.Worker.Handler.Validate())
	}
	l.checkAPI()
	for _, s := range c.listeners() {
		// What a role has refused is not refused twice.
		if !l.problems.has(s.key) && !isSocket(s.addr) {
			if _, _, err := hostPort(s.addr); err != nil {
				example := defaults[s.key]
				if example == nil || example == "" {
					example = "127.0.0.1:8283"
				}
				l.bad(s.key, "%w; write host:port, such as %v", err, example)
			}
		}
	}
	if err := checkAdvertise(c.Advertise); err != nil {
		l.bad("advertise", "%w", err)
	}
	l.checkExternal()
	l.checkRegisters()
	if len(l.problems) > 0 {
		return
	}
	l.checkExposure()
	l.checkCollisions()
}

// validate adds what a part says about its own section.
func (l *loader) validate(section string, err error) {
	for _, err := range split(err) {
		name, rest := keyed(err)
		if name == "" {
			l.bad(section, "%w", rest)
		} else {
			l.bad(section+"."+name, "%w", rest)
		}
	}
}

func (l *loader) checkReady() {
	for i, name := range l.config.Admin.ReadyWithout {
		if !slices.Contains(ReadyChecks(), name) {
			l.badElement("admin.ready_without", i, "%s is not a check of /readyz; write one of %s", quote(name), strings.Join(ReadyChecks(), ", "))
		}
	}
}

func (l *loader) checkLog() {
	c := l.config.Log
	if _, ok := logLevels[c.Level]; !ok {
		l.bad("log.level", "%s is not a level; write debug, info, warn or error", quote(c.Level))
	}
	if c.Format != "text" && c.Format != "json" {
		l.bad("log.format", "%s is not a format; write text or json", quote(c.Format))
	}
}

func (l *loader) checkRegister() {
	c := l.config.Register
	if c == nil {
		return
	}
	if err := bus.CheckName(c.Name); err != nil {
		l.bad("register.name", "%w", err)
	}
	if err := bus.CheckName(c.Cluster.Name); err != nil {
		l.bad("register.cluster.name", "%w", err)
	}
	for i, route := range c.Cluster.Routes {
		_, port, err := hostPort(route)
		if err == nil && (isWildcard(route) || port == 0) {
			err = fmt.Errorf("%s is not an address to connect to", quote(route))
		}
		if err != nil {
			l.badElement("register.cluster.routes", i, "%w; write the host:port of a register's cluster.listen, such as 127.0.0.1:6222", err)
		}
	}
}

// checkRegisters checks the URLs and brings them into one form.
func (l *loader) checkRegisters() {
	c := l.config
	if len(c.Registers) == 0 && (c.Gateway != nil || c.Worker != nil || c.API != nil) {
		l.bad("registers", "it is empty, and a gateway, worker or api needs one to be found; write at least one, such as [nats://127.0.0.1:4222]")
	}
	for i, s := range c.Registers {
		url, err := registerURL(s, c.OwnRegister())
		if err != nil {
			l.badElement("registers", i, "%w", err)
			continue
		}
		if strings.HasPrefix(url, "tls://") && !c.TLS.On() {
			l.badElement("registers", i, "%s is for TLS, and no certificates are set; set tls.ca, or write nats://", url)
		}
		c.Registers[i] = url
	}
}

// badElement is bad about an element of a list.
func (l *loader) badElement(key string, i int, format string, args ...any) {
	l.bad(element(key, i), format, args...)
}

// checkExposure refuses listeners that others can reach and that nothing
// protects, and such that others cannot be told of.
func (l *loader) checkExposure() {
	c := l.config
	for _, s := range c.listeners() {
		switch {
		case s.use == forClients || isLoopback(s.addr):
			continue
		case s.use == forAdmins && c.API != nil && len(c.API.AllTokens()) == 0:
			l.bad("api.tokens", "there is none, and %s at %s can be reached from other machines; "+
				"set api.tokens or api.token_file, or listen on 127.0.0.1 and use a tunnel", s.key, s.addr)
		case s.use == forAdmins && !c.Insecure && !c.AdminGuarded():
			l.bad(s.key, "%s can be reached from other machines, and the admin listener has no authentication; "+
				"listen on 127.0.0.1 and use a tunnel, set api.tokens so that it wants one, or set insecure: true if the network is trusted", s.addr)
		case s.use == forMembers && c.Secret == "" && !c.Insecure:
			l.bad(s.key, "%s can be reached from other machines, and there is no secret; "+
				"set secret or secret_file, or set insecure: true if the network is trusted", s.addr)
		}
		if s.use == forMembers && isWildcard(s.addr) && c.Advertise == "" {
			l.bad(s.key, "%s is every interface, and not an address that others can connect to; "+
				"set advertise to the address of this host, or listen on that address", s.addr)
		}
	}
	l.checkBusIsReached()
}

// AdminGuarded tells whether all that the admin listener serves needs a token of the
// API, health and readiness aside: it can be reached from other machines, and Insecure
// does not say that this is all right.
func (c *Config) AdminGuarded() bool {
	return c.API != nil && len(c.API.AllTokens()) > 0 && !c.Insecure && !isLoopback(c.Admin.Listen)
}

// AdminIsReachable tells whether the admin listener can be reached from other machines.
func (c *Config) AdminIsReachable() bool { return c.Admin.Listen != "" && !isLoopback(c.Admin.Listen) }

// checkBusIsReached refuses a bus that only this machine can reach, in a
// cluster of several: all workers elsewhere would be told to connect to
// themselves.
func (l *loader) checkBusIsReached() {
	c := l.config
	if !c.BusIsOwn() || c.Advertise != "" || !isLoopback(c.Gateway.Bus.Listen) {
		return
	}
	for _, url := range c.Registers {
		if _, addr, _ := strings.Cut(url, "://"); !isLoopback(addr) {
			l.bad("gateway.bus.listen", "%s can be reached from this machine only, but the register %s is not on it: "+
				"workers elsewhere would be told %s; set advertise to the address of this host, or listen on that address",
				c.Gateway.Bus.Listen, url, c.BusAdvertise())
			return
		}
	}
}

// checkCollisions refuses two listeners on one address.
func (l *loader) checkCollisions() {
	all := l.config.listeners()
	for i, a := range all {
		for _, b := range all[:i] {
			if collide(a.addr, b.addr) {
				l.bad(a.key, "%s is taken by %s, which listens on %s; choose another port", a.addr, b.key, b.addr)
				break
			}
		}
	}
}

// isSocket tells whether a listen address is the path of a unix socket.
func isSocket(addr string) bool { return strings.HasPrefix(addr, "unix:") }

func collide(a, b string) bool {
	if isSocket(a) || isSocket(b) {
		return a == b
	}
	ah, ap, aerr := hostPort(a)
	bh, bp, berr := hostPort(b)
	if aerr != nil || berr != nil || ap != bp || ap == 0 {
		return false
	}
	return strings.EqualFold(ah, bh) || isWildcard(a) || isWildcard(b)
}

// use is who connects to a listener.
type use int

const (
	forClients use = iota // anybody: what they may do is the workers' decision
	forAdmins             // operators
	forMembers            // the processes of the cluster, and tools
)

type listener struct {
	key, addr string
	use       use
}

// listeners lists what this host listens on.
func (c *Config) listeners() []listener {
	var all []listener
	if c.Admin.Listen != "" {
		all = append(all, listener{"admin.listen", c.Admin.Listen, forAdmins})
	}
	if c.RegisterIsOwn() {
		all = append(all,
			listener{"register.listen", c.Register.Listen, forMembers},
			listener{"register.cluster.listen", c.Register.Cluster.Listen, forMembers})
	}
	if c.Gateway != nil {
		all = append(all, listener{"gateway.listen", c.Gateway.Listen, forClients})
		if c.BusIsOwn() {
			all = append(all, listener{"gateway.bus.listen", c.Gateway.Bus.Listen, forMembers})
			if c.Gateway.Bus.Spare != "" {
				all = append(all, listener{"gateway.bus.spare", c.Gateway.Bus.Spare, forMembers})
			}
		}
		for i, s := range c.Gateway.Listeners {
			all = append(all, listener{element("gateway.listeners", i) + ".listen", s.Listen, forClients})
		}
	}
	return all
}
