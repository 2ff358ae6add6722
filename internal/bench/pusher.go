package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/bench/wsclient"
	"github.com/gatebus/gatebus/internal/wsframe"
)

// memberName is the group, and the uid, of the members of a fan-out.
const memberName = "bench"

// natsTimeout bounds what is asked of a NATS server.
const natsTimeout = 10 * time.Second

// busPusher pushes as any NATS client can: to every gateway, or to a register.
type busPusher struct {
	conns    []*nats.Conn
	subjects []string // one each
	inbox    string
	fail     chan error
}

// pushedTo is a NATS server and the gateway that is pushed to through it.
type pushedTo struct{ url, gateway string }

// pushSubject is where pushes of a scope go.
func pushSubject(gateway, scope string) string {
	if scope == ScopeAll {
		return "gw." + gateway + ".push.all"
	}
	return "gw." + gateway + ".push." + scope + "." + memberName
}

// newBusPusher connects to where pushes go.
func newBusPusher(to []pushedTo, o *Options) (_ *busPusher, err error) {
	p := &busPusher{inbox: nats.NewInbox(), fail: make(chan error, 1)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for i, t := range to {
		nc, err := connectNATS(t.url)
		if err != nil {
			return nil, err
		}
		p.conns = append(p.conns, nc)
		p.subjects = append(p.subjects, pushSubject(t.gateway, o.Scope))
		// How members are shared among several gateways is not known here.
		want := -1
		switch {
		case t.gateway == allGateways:
		case i >= o.holding():
			want = 0
		case o.holding() == 1:
			want = o.Clients
		}
		_, err = nc.Subscribe(p.inbox, func(m *nats.Msg) {
			if err := checkResult(m, want); err != nil {
				select {
				case p.fail <- err:
				default: // one is enough
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.url, err)
		}
	}
	return p, nil
}

func connectNATS(url string) (*nats.Conn, error) {
	nc, err := nats.Connect(url, nats.Name("gatebus bench"), nats.NoReconnect(), nats.Timeout(natsTimeout))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	return nc, nil
}

// allGateways stands for every gateway in the subjects of a register.
const allGateways = "all"

// checkResult reads a gateway's answer to a push that has to reach so many
// clients; -1 if that is not known.
func checkResult(m *nats.Msg, want int) error {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return fmt.Errorf("nobody listens on %s; is that the name of the gateway?", m.Subject)
	}
	var r struct {
		Clients int    `json:"clients"`
		Error   string `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &r); {
	case err != nil:
		return fmt.Errorf("the gateway answers a push with %.60q: %w", m.Data, err)
	case r.Error != "":
		return fmt.Errorf("the gateway refuses a push: %s", r.Error)
	case want >= 0 && r.Clients != want:
		return fmt.Errorf("a push reached %d clients instead of %d: is the bench the only worker of its group, and are its clients the only ones?", r.Clients, want)
	}
	return nil
}

func (p *busPusher) push(payload []byte) error {
	var errs error
	for i, nc := range p.conns {
		errs = errors.Join(errs, nc.PublishRequest(p.subjects[i], p.inbox, payload))
	}
	return errs
}

func (p *busPusher) failed() <-chan error { return p.fail }

func (p *busPusher) close() {
	for _, nc := range p.conns {
		nc.Close()
	}
}

// admit makes the bench the worker of a group on a gateway's bus: it lets every
// client in, with the uid or group that pushes go to. stop ends it.
func admit(ctx context.Context, url string, o *Options) (stop func(), err error) {
	answer := map[string]any{}
	switch o.Scope {
	case ScopeGroup:
		answer["groups"] = []string{memberName}
	case ScopeUID:
		answer["uid"] = memberName
	}
	open, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	nc, err := connectNATS(url)
	if err != nil {
		return nil, err
	}
	_, err = nc.QueueSubscribe("gw.*.in."+o.Group+".*", o.Group, func(m *nats.Msg) {
		reply := m.Data // a frame is echoed
		switch {
		case strings.HasSuffix(m.Subject, ".open"):
			reply = open
		case strings.HasSuffix(m.Subject, ".close"):
			reply = nil
		}
		_ = m.Respond(reply) // an event without an answer comes again
	})
	if err == nil {
		flushing, cancel := context.WithTimeout(ctx, natsTimeout)
		defer cancel()
		err = nc.FlushWithContext(flushing)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("be a worker on %s: %w", url, err)
	}
	return nc.Close, nil
}

// rawPusher has the raw server write frames.
type rawPusher struct {
	conn *wsclient.Conn
	out  []byte
}

// newRawPusher connects when all members are registered.
func newRawPusher(ctx context.Context, t wsclient.Target, members int) (*rawPusher, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, natsTimeout, errors.New("the raw server does not know all members"))
	defer cancel()
	c, err := dial(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	expectWithin(c, natsTimeout)
	// An empty push is answered with the number of members, once there are as
	// many as it says.
	err = c.Write(wsframe.AppendMasked(nil, wsframe.Binary, c.Key, strconv.AppendInt(nil, int64(members), 10)))
	if err == nil {
		_, _, err = c.Next()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raw server: wait for %d members: %w", members, err), c.Net.Close())
	}
	return &rawPusher{conn: c}, nil
}

func (p *rawPusher) push(payload []byte) error {
	p.out = wsframe.AppendMasked(p.out[:0], wsframe.Text, p.conn.Key, payload)
	return p.conn.Write(p.out)
}

func (p *rawPusher) failed() <-chan error { return nil }
func (p *rawPusher) close()               { _ = p.conn.Net.Close() }
