package embedded_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// refused checks that nobody gets in with opts.
func refused(t *testing.T, s *embedded.Server, what string, opts ...nats.Option) {
	t.Helper()
	nc, err := dial(s, opts...)
	if err == nil {
		nc.Close()
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("%s: %v, want %v", what, err, nats.ErrAuthorization)
	}
}

// refusedInProcess is refused for connections in process. nats.go writes twice
// when it connects, and the server answers the first write, so on a pipe each
// waits for the other to read until the write deadline of the server ends it:
// after 2 s, with another error.
func refusedInProcess(t *testing.T, s *embedded.Server, what string, opts ...nats.Option) {
	t.Helper()
	nc, err := dial(s, append(opts, nats.InProcessServer(s))...)
	if err == nil {
		nc.Close()
		t.Errorf("%s: not refused in process", what)
	}
}

func TestSecretOnClientPort(t *testing.T) {
	t.Parallel()
	right, wrong := derive(t, "the right secret"), derive(t, "the wrong secret")
	cfgs := map[string]embedded.Config{
		"bus":      {Name: "g1", Listen: loopback, Keys: right},
		"register": {Name: "r1", Listen: loopback, Keys: right, Cluster: member(loopback)},
	}
	// Who may come over TCP, and who is the server's own.
	remote := map[string][]keys.Role{
		"bus":      {keys.RoleWorker, keys.RoleApplication, keys.RoleObserver},
		"register": {keys.RoleGateway, keys.RoleWorker, keys.RoleApplication, keys.RoleObserver},
	}
	own := map[string]keys.Role{"bus": keys.RoleGateway, "register": keys.RoleRegister}
	for name, cfg := range cfgs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, cfg)
			flush(t, connect(t, s, s.ConnectOptions(own[name])...))
			for _, r := range keys.Roles() {
				if slices.Contains(remote[name], r) {
					flush(t, connect(t, s, as(right, r)))
					flush(t, connect(t, s, s.ConnectOptions(r)...))
				} else {
					refused(t, s, string(r)+" over TCP", as(right, r))
				}
				refused(t, s, "wrong secret", as(wrong, r))
				refused(t, s, "right name, wrong signature", nats.Nkey(right.Public(r), wrong.Signer(r)))
			}
			refused(t, s, "nothing")
			refusedInProcess(t, s, "nothing")
			refusedInProcess(t, s, "wrong secret", as(wrong, keys.RoleWorker))
			refused(t, s, "the route's user", nats.UserInfo(keys.RouteUser, right.RoutePassword()))
			refused(t, s, "a token", nats.Token("the right secret"))
		})
	}
}

// A peer with credentials is configured for an installation that has a secret.
// To let it in here would hide that.
func TestCredentialsWithoutSecret(t *testing.T) {
	t.Parallel()
	s := start(t, bus())
	flush(t, connect(t, s))
	flush(t, connect(t, s, nats.InProcessServer(s)))
	refused(t, s, "an nkey", as(derive(t, "0123456789abcdef"), keys.RoleWorker))
	refused(t, s, "a password", nats.UserInfo("worker", "secret"))
}

func TestSystemAccountIsUnreachable(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	cfgs := map[string]embedded.Config{
		"open bus":        bus(),
		"secret bus":      {Name: "g1", Listen: loopback, Keys: k},
		"open register":   {Name: "r1", Listen: loopback, Cluster: member(loopback)},
		"secret register": {Name: "r1", Listen: loopback, Keys: k, Cluster: member(loopback)},
	}
	for name, cfg := range cfgs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, cfg)

			// No way into the account…
			public, sign := s.SystemUser()
			refused(t, s, "the system user over TCP", nats.Nkey(public, sign))
			stranger, err := nkeys.CreateUser()
			if err != nil {
				t.Fatal(err)
			}
			refusedInProcess(t, s, "the system user, wrong signature", nats.Nkey(public, stranger.Sign))
			for _, user := range []string{"$SYS", "SYS", "sys", "admin", "system"} {
				refused(t, s, user, nats.UserInfo(user, ""))
				refused(t, s, user, nats.UserInfo(user, user))
			}

			// …none of its events outside…
			var opts []nats.Option
			if cfg.Keys != nil {
				opts = append(opts, as(k, keys.RoleObserver))
			}
			nc := connect(t, s, opts...)
			if cfg.Keys != nil { // it may not even ask
				tries(t, s, k, keys.RoleObserver, `
					no sub $SYS.>
					no sub $SYS.ACCOUNT.*.*
					no pub $SYS.REQ.SERVER.PING
					no pub $SYS.REQ.SERVER.PING.CONNZ
					no pub $SYS.REQ.ACCOUNT.PING.CONNZ
					no pub $SYS.DEBUG.SUBSCRIBERS
					no pub $JS.API.INFO`)
				return
			}
			everything := subscribe(t, nc, "$SYS.>")
			events := watch(t, s)
			other := connect(t, s, opts...)
			other.Close()
			await(t, "disconnect", events, func(ev embedded.ClientEvent) bool {
				return ev.Kind == embedded.ClientDisconnected
			})
			flush(t, nc) // whatever was sent before the event is here now
			if n, _, _ := everything.Pending(); n != 0 {
				m, _ := everything.NextMsg(patience)
				t.Errorf("%d system messages reach a client, the first on %s", n, m.Subject)
			}

			// …and nobody who answers.
			everything.Unsubscribe() // it would count as one who can
			id := nc.ConnectedServerId()
			for _, subject := range []string{
				"$SYS.REQ.SERVER.PING",
				"$SYS.REQ.SERVER.PING.STATSZ",
				"$SYS.REQ.SERVER.PING.VARZ",
				"$SYS.REQ.SERVER." + id + ".VARZ",
				"$SYS.REQ.SERVER." + id + ".CONNZ",
				"$SYS.REQ.SERVER." + id + ".KICK",
				"$SYS.REQ.SERVER." + id + ".LDM",
				"$SYS.REQ.SERVER." + id + ".RELOAD",
				"$SYS.REQ.ACCOUNT.$SYS.CONNZ",
				"$SYS.REQ.ACCOUNT.$G.CONNZ",
				"$SYS.DEBUG.SUBSCRIBERS",
				"$JS.API.INFO",
			} {
				m, err := nc.Request(subject, []byte(`{"cid":1}`), patience)
				if !errors.Is(err, nats.ErrNoResponders) {
					t.Errorf("%s: %v, %v", subject, m, err)
				}
			}
		})
	}
}
