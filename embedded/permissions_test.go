package embedded_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/embedded"
	"github.com/gatebus/gatebus/internal/keys"
)

// try does one thing on a raw connection and tells whether the server allows
// it: "pub SUBJECT", "sub SUBJECT" or "sub SUBJECT QUEUE".
func try(t *testing.T, nc *nats.Conn, what string) bool {
	t.Helper()
	words := strings.Fields(what)
	var (
		err    error
		denied = fmt.Sprintf("Permissions Violation for Publish to %q", words[1])
	)
	switch {
	case words[0] == "pub":
		err = nc.Publish(words[1], nil)
	case len(words) == 2:
		_, err = nc.SubscribeSync(words[1])
		denied = fmt.Sprintf("Permissions Violation for Subscription to %q", words[1])
	default:
		_, err = nc.QueueSubscribeSync(words[1], words[2])
		denied = fmt.Sprintf("Permissions Violation for Subscription to %q using queue %q", words[1], words[2])
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	flush(t, nc) // what the server has against it comes before the answer
	last := nc.LastError()
	return last == nil || !strings.Contains(last.Error(), denied)
}

// tries checks what a role may do on a server, one line each. A line that begins
// with "no" must be denied.
func tries(t *testing.T, s *embedded.Server, k *keys.Keys, r keys.Role, lines string) {
	t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		what, denied := strings.CutPrefix(strings.TrimSpace(line), "no ")
		// Each on a connection of its own, so that nothing hides another.
		nc := connect(t, s, append(k.ConnectOptions(r), quiet)...)
		if allowed := try(t, nc, what); allowed == denied {
			t.Errorf("%s: %s: allowed is %v, want %v", r, what, allowed, !denied)
		}
		nc.Close()
	}
}

func TestPermissionsOnABus(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	s := start(t, embedded.Config{Name: "g1", Listen: loopback, Keys: k})
	for r, lines := range map[keys.Role]string{
		keys.RoleWorker: `
			sub gw.*.in.default.* default
			sub gw.g1.in.default.* default
			sub gw.g1.at.w1-1.*.*
			sub gw.g1.at.w1.*
			sub gw.g1.batch.w1-1.*
			sub gw.g1.ask.held
			sub gw.g1.names
			sub gw.g1.names.w1-1.*
			sub _INBOX.1234.*
			pub gw.g1.out.g1-1-1.7
			pub gw.g1.replies.w1-1.4
			pub gw.g1.held.3
			pub gw.g1.push.all
			pub gw.g1.push.uid.ann
			pub gw.g1.do.close
			pub gw.g1.do.hello
			no sub gw.*.in.default.*
			no sub gw.*.in.>
			no sub gw.>
			no sub >
			no sub > all
			no sub gw.g1.out.*.*
			no sub gw.g1.replies.>
			no sub gw.g1.held.*
			no sub gw.g1.push.>
			no sub gw.g1.do.*
			no sub _INBOX_application.>
			no sub _INBOX_observer.>
			no pub gw.g1.in.default.open
			no pub gw.g1.in.default.text
			no pub gw.g1.at.w1-1.4.text
			no pub gw.g1.batch.w1-1.4
			no pub gw.g1.ask.held
			no pub gw.g1.names
			no pub gw.g1.names.w1-1.4
			no pub _INBOX.1234.1
			no pub _INBOX_application.1234.1
			no pub $SYS.REQ.SERVER.PING
			no pub $SYS.REQ.ACCOUNT.PING.CONNZ
			no pub anything`,
		keys.RoleApplication: `
			sub gw.g1.names
			sub gw.g1.names.a1-1.*
			sub _INBOX_application.>
			pub gw.g1.push.all
			pub gw.g1.push.client.g1-1-1
			pub gw.g1.do.bind
			pub gw.g1.do.list
			no sub gw.*.in.default.* default
			no sub gw.g1.at.a1-1.*.*
			no sub gw.g1.batch.a1-1.*
			no sub gw.g1.ask.held
			no sub gw.g1.do.*
			no sub gw.>
			no sub _INBOX.>
			no sub _INBOX_observer.>
			no pub gw.g1.out.g1-1-1.7
			no pub gw.g1.replies.a1-1.4
			no pub gw.g1.held.3
			no pub gw.g1.in.default.text
			no pub gw.g1.names
			no pub _INBOX.1234.1`,
		keys.RoleObserver: `
			sub _INBOX_observer.>
			pub gw.g1.do.count
			pub gw.g1.do.list
			pub gw.g1.do.info
			no sub gw.>
			no sub gw.*.in.*.*
			no sub gw.*.in.default.* default
			no sub gw.g1.ask.held
			no sub _INBOX.>
			no sub _INBOX_application.>
			no pub gw.g1.do.close
			no pub gw.g1.do.bind
			no pub gw.g1.do.session
			no pub gw.g1.do.names
			no pub gw.g1.push.all
			no pub gw.g1.out.g1-1-1.7
			no pub gw.g1.held.3
			no pub _INBOX.1234.1`,
	} {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			tries(t, s, k, r, lines)
		})
	}
}

func TestPermissionsOnARegister(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	s := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: k, Cluster: member(loopback)})
	for r, lines := range map[keys.Role]string{
		keys.RoleGateway: `
			pub reg.announce.gateway
			pub reg.leave.gateway
			pub reg.members
			pub _INBOX.1234.1
			pub _INBOX_application.1234.1
			pub _INBOX_observer.1234.1
			pub gw.g1.in.default.text
			pub gw.g1.at.w1.1.text
			pub gw.g1.out.g1-1-1.7
			pub gw.g1.push.all
			pub gw.g1.tap.g1-1-1.in.text
			pub gw.g1.tap.skipped
			sub reg.taps
			sub _INBOX_gateway.>
			sub gw.all.push.>
			sub gw.all.do.*
			sub gw.g1.push.>
			sub gw.g1.do.*
			sub $SRV.PING
			sub $SRV.INFO.gatebus-gateway
			sub $SRV.STATS.gatebus-gateway.x1
			sub reg.stats.gateway.g1
			no pub reg.announce.register
			no pub reg.announce.worker
			no pub reg.leave.register
			no pub reg.leave.worker
			no pub reg.down.default
			no pub reg.answer.default.g1.1
			no pub reg.pending
			no pub reg.taps
			no pub gw.all.push.all
			no pub gw.all.do.close
			no sub gw.g2.in.default.text
			no sub gw.>
			no pub _INBOX_register.1234.1
			no pub $SRV.PING
			no sub reg.members
			no sub reg.members registers
			no sub reg.announce.worker
			no sub reg.announce.*
			no sub reg.answer.>
			no sub reg.pending
			no sub reg.down.default default
			no sub _INBOX.>
			no sub _INBOX_observer.>
			no sub $SRV.>
			no sub $SRV.PING.gatebus-register
			no sub reg.stats.worker.w1
			no sub >`,
		keys.RoleWorker: `
			pub reg.announce.worker
			pub reg.leave.worker
			pub reg.members
			pub reg.answer.default.g1.1
			pub _INBOX.1234.1
			pub _INBOX_observer.1234.1
			pub gw.all.push.group.room1
			pub gw.all.do.count
			sub reg.announce.gateway
			sub reg.leave.gateway
			sub reg.down.default default
			sub _INBOX.>
			sub $SRV.PING.gatebus-worker
			sub reg.stats.worker.w1
			no pub reg.announce.gateway
			no pub reg.announce.register
			no pub reg.leave.gateway
			no pub reg.leave.register
			no pub reg.down.default
			no pub reg.pending
			no pub _INBOX_gateway.1234.1
			no pub _INBOX_register.1234.1
			no pub _INBOX_application.1234.1
			no pub $SRV.PING
			no pub reg.stats.worker.w2
			no pub gw.g1.in.default.text
			no sub reg.announce.*
			no sub reg.announce.worker
			no sub reg.members
			no sub reg.members registers
			no sub reg.down.default
			no sub reg.answer.>
			no sub gw.>
			no sub gw.all.push.>
			no sub gw.all.do.*
			no sub $SRV.>
			no sub $SRV.PING.gatebus-gateway
			no sub reg.stats.gateway.g1
			no sub _INBOX_gateway.>
			no sub _INBOX_observer.>
			no sub >`,
		keys.RoleApplication: `
			pub reg.members
			pub gw.all.push.all
			pub gw.all.do.close
			sub reg.announce.gateway
			sub reg.leave.gateway
			sub _INBOX_application.>
			no pub reg.announce.worker
			no pub reg.announce.gateway
			no pub reg.leave.gateway
			no pub reg.answer.default.g1.1
			no pub _INBOX.1234.1
			no sub reg.down.default default
			no sub gw.>
			no sub _INBOX.>
			no sub $SRV.PING`,
		keys.RoleObserver: `
			pub reg.members
			pub reg.stats.gateway.g1
			pub $SRV.INFO
			pub $SRV.STATS.gatebus-worker
			pub gw.all.do.count
			pub gw.all.do.list
			pub gw.all.do.info
			sub gw.>
			sub gw.g1.in.default.text
			sub reg.announce.*
			sub reg.leave.*
			sub reg.answer.>
			sub reg.pending
			sub _INBOX_observer.>
			no pub gw.all.push.all
			no pub gw.all.do.close
			no pub gw.all.do.session
			no pub gw.all.do.bind
			no pub gw.g1.in.default.text
			no pub reg.announce.worker
			no pub reg.announce.gateway
			no pub reg.leave.gateway
			no pub reg.down.default
			no pub reg.answer.default.g1.1
			no pub reg.pending
			no pub _INBOX.1234.1
			no sub reg.down.default
			no sub reg.down.default default
			no sub reg.members
			no sub reg.>
			no sub _INBOX.>
			no sub _INBOX_gateway.>
			no sub $SRV.PING
			no sub $SYS.>
			no sub >`,
	} {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			tries(t, s, k, r, lines)
		})
	}
}

// What runs a server speaks for it, in the server's own process and nowhere
// else: the key of a gateway opens no bus, not even its own, and that of a
// register nothing at all.
func TestServersOwnRoles(t *testing.T) {
	t.Parallel()
	k := derive(t, "0123456789abcdef")
	b := start(t, embedded.Config{Name: "g1", Listen: loopback, Keys: k})
	r := start(t, embedded.Config{Name: "r1", Listen: loopback, Keys: k, Cluster: member(loopback)})
	refused(t, b, "a gateway", as(k, keys.RoleGateway))
	refused(t, b, "a register", as(k, keys.RoleRegister))
	refused(t, r, "a register", as(k, keys.RoleRegister))
	refusedInProcess(t, b, "a register in process", as(k, keys.RoleRegister))

	gateway := connectInProcess(t, b)
	for _, what := range []string{
		"pub gw.g1.in.default.text", "pub gw.g1.ask.held", "pub gw.g1.names",
		"sub gw.g1.out.*.*", "sub gw.g1.replies.>", "sub gw.g1.do.*",
	} {
		if !try(t, gateway, what) {
			t.Errorf("the gateway on its own bus may not %s", what)
		}
	}
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	own := connect(t, r, append(r.ConnectOptions(keys.RoleRegister), quiet)...)
	for what, want := range map[string]bool{
		"pub reg.announce.register": true, "pub reg.down.default": true, "pub reg.pending": true, "pub reg.taps": true,
		"pub reg.answer.default.g1.1": true, "pub _INBOX.1.1": true, "pub _INBOX_gateway.1.1": true,
		"sub reg.announce.*": true, "sub reg.leave.*": true, "sub reg.answer.>": true,
		"sub reg.members registers": true, "sub _INBOX_register.>": true, "sub $SRV.PING": true,
		// Or an observer could ask it a question and have the answer sent there.
		"pub gw.all.push.all": false, "pub gw.all.do.close": false, "pub reg.announce.gateway": false,
	} {
		if got := try(t, own, what); got != want {
			t.Errorf("the register on its own server: %s: %v, want %v", what, got, want)
		}
	}
}

// Who has only the key of a role cannot have the answers of others: each role
// has inboxes of its own.
func TestInboxesAreApart(t *testing.T) {
	t.Parallel()
	seen := map[string]keys.Role{}
	for _, r := range keys.Roles() {
		p := keys.InboxPrefix(r)
		if other, dup := seen[p]; dup || strings.ContainsAny(p, ".*>") {
			t.Errorf("the inboxes of %s are %q, like those of %s", r, p, other)
		}
		seen[p] = r
	}
}
