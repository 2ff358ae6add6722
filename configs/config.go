package configs

import (
	"log/slog"
	"reflect"
	"slices"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/worker/handlers"
)

// Config is the configuration of one host. The koanf tags are the keys of the
// YAML file. One made by [Load] is complete and checked; [Default] names every
// default.
type Config struct {
	// Secret is what all roles of a cluster share; empty where none is set. At
	// least [MinSecret] bytes; white space around it does not count. If
	// SecretFile is set, Load has filled it from there.
	Secret Secret `koanf:"secret"`
	// SecretFile is the file that holds the secret. A relative path in a
	// configuration file starts at that file's directory, and is made absolute.
	SecretFile string `koanf:"secret_file"`
	// AcceptSecret is another secret that others may have while Secret takes its
	// place, or before it does; the same rules hold. AcceptSecretFile is the file
	// that holds it.
	AcceptSecret     Secret `koanf:"accept_secret"`
	AcceptSecretFile string `koanf:"accept_secret_file"`
	// TLS is for all links of NATS: buses, registers and the routes between them.
	TLS TLS `koanf:"tls"`
	// NATS is how this host logs in to a NATS cluster that gatebus does not run.
	NATS NATS `koanf:"nats"`
	// Insecure allows listeners beyond loopback without a secret, and an admin
	// listener there without authentication: for networks that are trusted. The API
	// has tokens there even so.
	Insecure bool `koanf:"insecure"`
	// Registers are the NATS URLs of the registers, of which any one suffices.
	Registers []string `koanf:"registers"`
	// Advertise is the host name or address, without port, under which other
	// hosts reach this one; empty means the host of each listen address.
	Advertise string `koanf:"advertise"`

	Admin   Admin   `koanf:"admin"`
	Log     Log     `koanf:"log"`
	Tracing Tracing `koanf:"tracing"`

	// The roles; one that is nil does not run on this host.
	Register *Register `koanf:"register"`
	Gateway  *Gateway  `koanf:"gateway"`
	Worker   *Worker   `koanf:"worker"`
	API      *API      `koanf:"api"`

	// file is the name of the file that was loaded, for messages.
	file string
}

// TLS says how the links of NATS are encrypted. The paths have the rules of
// Config.SecretFile.
type TLS struct {
	// Cert is the PEM file with the certificate of this host, for its servers and
	// to show where others ask for it, and behind it those up to the root.
	Cert string `koanf:"cert"`
	// Key is the PEM file with its private key.
	Key string `koanf:"key"`
	// CA is the PEM file with the authorities whose certificates are believed;
	// empty means those of the system.
	CA string `koanf:"ca"`
	// Verify has gateways and registers demand a certificate of CA of who
	// connects. Registers among themselves always do, if CA is set.
	Verify bool `koanf:"verify"`
}

// NATS are the credentials for a NATS cluster of your own: User and Password, or one
// of the files. The paths have the rules of Config.SecretFile.
type NATS struct {
	User     string `koanf:"user"`
	Password Secret `koanf:"password"`
	// Creds is a file with the JWT and the seed of a user.
	Creds string `koanf:"creds"`
	// NKey is a file with the seed of a user.
	NKey string `koanf:"nkey"`
}

// Credentials are these in the terms of package bus.
func (n NATS) Credentials() bus.Credentials {
	return bus.Credentials{User: n.User, Password: string(n.Password), Creds: n.Creds, NKey: n.NKey}
}

// On tells whether the links have TLS.
func (t TLS) On() bool { return t.Cert != "" || t.CA != "" }

// Admin is the HTTP listener of a process for its operators.
type Admin struct {
	// Listen is the host:port for health, figures, the chat page and the API; empty
	// means that there is none. "off" is read as empty.
	Listen string `koanf:"listen"`
	// ReadyWithout are checks that do not count for /readyz, of [ReadyChecks].
	ReadyWithout []string `koanf:"ready_without"`
}

// The checks of /readyz.
const (
	ReadyJoined  = "joined"  // gateway, worker: a register has confirmed it
	ReadyBus     = "bus"     // gateway: the NATS server of its own runs
	ReadyWorkers = "workers" // gateway: each group that it serves has a worker on its bus
	ReadyLinks   = "links"   // worker: a gateway is linked
	ReadyNATS    = "nats"    // register: its NATS server runs
	// ReadyRegisters is of the API: a register has answered.
	ReadyRegisters = "registers"
)

// ReadyChecks lists the checks of /readyz.
func ReadyChecks() []string {
	return []string{ReadyJoined, ReadyBus, ReadyWorkers, ReadyLinks, ReadyNATS, ReadyRegisters}
}

// Log says what is logged, and how.
type Log struct {
	// Level is the least level that is logged: debug, info, warn or error.
	Level string `koanf:"level"`
	// Format is text (key=value) or json, one line a record.
	Format string `koanf:"format"`
}

// SlogLevel is Level in the terms of log/slog.
func (l Log) SlogLevel() slog.Level { return logLevels[l.Level] }

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

// Register is the section of a register.
type Register struct {
	// Name names the register; unique in a cluster (see bus.CheckName).
	Name string `koanf:"name"`
	// Listen is the host:port for gateways, workers and tools; port 0 takes a
	// free one.
	Listen string `koanf:"listen"`
	// URL are the servers of a NATS cluster of your own, any of which will do: the
	// register is a client there, and Listen and Cluster do not count.
	URL     []string `koanf:"url"`
	Cluster Cluster  `koanf:"cluster"`
}

// Cluster says how registers find each other.
type Cluster struct {
	// Name is the same on all registers of a cluster (see bus.CheckName).
	Name string `koanf:"name"`
	// Listen is the host:port for the other registers.
	Listen string `koanf:"listen"`
	// Routes are the host:port of every register's cluster listener, this
	// one's included or not; empty for a single register.
	Routes []string `koanf:"routes"`
}

// Gateway is the section of a gateway: what the gateway itself can be told, and
// the bus that runs beside it.
type Gateway struct {
	gateway.Config `koanf:",squash"`
	// Handover is the path of a unix socket over which a process that is started later,
	// with the same path and name, takes the listeners of this one and replaces it; empty
	// means that none can. It has the rules of Config.SecretFile.
	Handover string `koanf:"handover"`
	Bus      Bus    `koanf:"bus"`
}

// Bus is the NATS server of one gateway, or a cluster of your own in its place.
type Bus struct {
	// Listen is the host:port where workers connect; port 0 takes a free one.
	Listen string `koanf:"listen"`
	// Spare is the host:port that is taken in place of Listen while a process that is
	// being replaced has that; empty means that a free port is, at the host of Listen.
	Spare string `koanf:"spare"`
	// URL are the servers of a NATS cluster of your own, any of which will do: it is
	// the bus, and Listen does not count.
	URL []string `koanf:"url"`
}

// Worker is the section of a worker that runs a built-in handler. Its Registers
// and Secret are those of the host: see [Config.WorkerConfig].
type Worker struct {
	worker.Config `koanf:",squash"`
	Handler       handlers.Config `koanf:"handler"`
}

// Default is the configuration of a host with these roles of which nothing is
// set. What the roles do not know by themselves has its one default here.
func Default(roles ...Role) *Config {
	c := &Config{
		Registers: []string{"nats://127.0.0.1:4222"},
		Admin:     Admin{Listen: "127.0.0.1:8280", ReadyWithout: []string{}},
		Log:       Log{Level: "info", Format: "text"},
		Tracing:   DefaultTracing(),
	}
	if slices.Contains(roles, RoleRegister) {
		c.Register = &Register{
			Name:   "r1",
			Listen: "127.0.0.1:4222",
			URL:    []string{},
			Cluster: Cluster{
				Name:   "gatebus",
				Listen: "127.0.0.1:6222",
				Routes: []string{},
			},
		}
	}
	if slices.Contains(roles, RoleGateway) {
		c.Gateway = &Gateway{
			Config: gateway.DefaultConfig(),
			Bus:    Bus{Listen: "127.0.0.1:8300", URL: []string{}},
		}
	}
	if slices.Contains(roles, RoleWorker) {
		c.Worker = &Worker{
			Config:  worker.DefaultConfig(),
			Handler: handlers.DefaultConfig(),
		}
		// Those of the host stand in Config.Registers, once.
		c.Worker.Registers = nil
	}
	if slices.Contains(roles, RoleAPI) {
		c.API = &API{Tokens: []Secret{}}
	}
	return c
}

// WorkerConfig is what the worker of this host is told, with the registers, the
// secret and the credentials of the host. It must not be called where Worker is nil.
func (c *Config) WorkerConfig() worker.Config {
	w := c.Worker.Config
	w.Registers = slices.Clone(c.Registers)
	w.Secret = string(c.Secret)
	w.NATS = c.NATS.Credentials()
	return w
}

// Diff names the keys, sorted, whose values differ in d, for a reload to tell
// what it can follow and what it cannot. A role that only one of them has
// differs in each of its keys.
func (c *Config) Diff(d *Config) []string {
	a, b := schema.values(c), schema.values(d)
	var keys []string
	for k, v := range a {
		if w, ok := b[k]; !ok || !reflect.DeepEqual(v, w) {
			keys = append(keys, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
