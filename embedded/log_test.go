package embedded_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

func TestLogGoesToSlog(t *testing.T) {
	t.Parallel()
	log, logged := lines()
	cfg := bus()
	cfg.Log, cfg.Keys = log, derive(t, "0123456789abcdef")
	s := start(t, cfg)
	name := "server=" + s.Name()
	await(t, "notice", logged, containing("level=DEBUG ", "Listening for client connections on "+s.Addr(), name))
	refused(t, s, "nothing")
	await(t, "refusal", logged, containing("level=WARN", "authentication error", name))
	connect(t, s, as(cfg.Keys, keys.RoleWorker))
	await(t, "debug line", logged, containing("level=DEBUG-4", "Client connection created"))
	stop(t, s)
	await(t, "last line", logged, containing("level=DEBUG ", "Server Exiting"))
}

// An ordinary run has nothing to warn of.
func TestQuietRun(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	for name, cfg := range map[string]embedded.Config{
		"open":     bus(),
		"secret":   {Name: "g1", Listen: loopback, Keys: k},
		"register": {Name: "r1", Listen: loopback, Cluster: member(loopback)},
	} {
		log, logged := lines()
		cfg.Log = log
		s := start(t, cfg)
		var opts []nats.Option
		if cfg.Keys != nil {
			opts = append(opts, as(k, keys.RoleWorker))
		}
		watch(t, s)
		flush(t, connect(t, s, opts...))
		stop(t, s)
		for len(logged) > 0 {
			if line := <-logged; containing("level=WARN")(line) || containing("level=ERROR")(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
