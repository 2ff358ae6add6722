package parity_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
	"github.com/gatebus/gatebus/worker"
	"github.com/gatebus/gatebus/workertest"
)

// What is called, and what was weak.
var _ = row(map[string]func(*pond){
	"onWorkerStart": func(p *pond) { p.c.Eventually("it was called", p.handler.has("start")) },
	"onWebSocketConnect": func(p *pond) {
		p.c.Eventually("it was called", p.handler.has("open "+string(p.guest.id)))
	},
	"onMessage": func(p *pond) {
		p.guest.Send("hello")
		p.guest.Expect("hello")
		p.c.Eventually("it was called", p.handler.has("text "+string(p.guest.id)))
	},
	"onClose": func(p *pond) {
		p.bob.Close()
		p.guest.Cut()
		p.c.Eventually("it was called", p.handler.has("close "+string(p.bob.id)))
		p.c.Eventually("it was called for one that broke off", p.handler.has("close "+string(p.guest.id)))
	},
	"onBusinessWorkerConnected": func(p *pond) {
		p.c.Eventually("it was called", p.handler.has("connected g1"))
		p.c.Eventually("it was called", p.handler.has("connected g2"))
	},
	"onBusinessWorkerClose": func(p *pond) {
		p.c.StopGateway(1)
		p.closed(p.guest, 1012, "the gateway restarts")
		p.c.Eventually("it was called", p.handler.has("gone g2"))
	},
	"_SERVER": func(p *pond) {
		m := p.c.Dial(workertest.Request{Path: "/pond?uid=eve&group=green&session=5", Header: http.Header{"X-Who": {"me"}}})
		m.Send("who am I")
		m.Expect(`/pond [me] eve [green] 5`)
		info, err := p.cluster.Client(m.ID()).Info(p.Context())
		if err != nil || !strings.HasPrefix(info.Open.Remote, "127.0.0.1:") || info.Connected.IsZero() {
			p.Errorf("%+v, %v", info.Open, err)
		}
	},
	"weakness_failure_touches_one_client": func(p *pond) {
		p.bob.Send("panic")
		p.closed(p.bob, 1011, "handler failed")
		for _, m := range []*member{p.ann1, p.ann2, p.guest} {
			m.Send("still here")
			m.Expect("still here")
		}
	},
	"weakness_lists_are_paged": func(p *pond) {
		p.lists(worker.ClientsQuery{Page: 1}, p.all...)
		p.lists(worker.ClientsQuery{After: ids(p.all...)[1]}, p.ann2, p.guest)
		p.names(p.cluster.UIDs(p.Context(), worker.NamesQuery{After: "ann", Page: 1}), bob)
	},
	"weakness_client_in_two_groups_gets_it_once": func(p *pond) {
		p.must(p.cluster.SendGroups([]string{"red", "blue", "red"}, worker.Text, []byte("hi"), p.ann1.id, p.bob.id))
		p.gets("hi", p.ann2)
	},
	"weakness_uid_zero": func(p *pond) {
		p.must(p.cluster.Client(p.guest.id).Bind(p.Context(), "0", worker.AllowOthers))
		p.must(p.cluster.SendUID("0", worker.Text, []byte("hi")))
		p.gets("hi", p.guest)
	},
	"weakness_binary_stays_binary": func(p *pond) {
		p.bob.SendBinary([]byte("\x00\xff"))
		is(p, workertest.Frame{Kind: worker.Binary, Data: "\x00\xff"})(p.bob.Receive(), nil)
		p.must(p.cluster.SendUID("bob", worker.Binary, []byte("\xff")))
		is(p, workertest.Frame{Kind: worker.Binary, Data: "\xff"})(p.bob.Receive(), nil)
	},
	"weakness_slow_handler_stalls_nobody": func(p *pond) {
		p.bob.Send("hang")
		<-p.handler.enter
		defer close(p.handler.leave)
		for _, m := range []*member{p.ann1, p.ann2, p.guest} {
			m.Send("still here")
			m.Expect("still here")
		}
	},
	"weakness_refuse_at_handshake": func(p *pond) {
		_, err := p.c.TryDial(workertest.Request{Path: "/?reject"})
		var refused *workertest.RefusedError
		if !errors.As(err, &refused) || refused.Status != http.StatusPaymentRequired {
			p.Errorf("%v, want a refusal with 402", err)
		}
		is(p, 4)(p.cluster.CountClients(p.Context()))
	},
})

// onWorkerStop comes after the last event, when the worker ends.
func TestWorkerStop(t *testing.T) {
	var h *handler
	t.Run("cluster", func(t *testing.T) { h = newPond(t).handler })
	if !h.has("stop")() {
		t.Errorf("Stop was not called: %q", h.notes)
	}
}

// TestGatewayGone has a worker hear that its link to a gateway is there, and is there
// no more.
func TestGatewayGone(t *testing.T) {
	cluster := testbed.NewCluster(t, 1)
	r, g := cluster.Register(0), cluster.Gateway("g1")
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := testbed.WaitReady(ctx, r, g); err != nil {
		t.Fatal(err)
	}
	h := &links{told: make(chan string, 10)}
	running, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- worker.Run(running, worker.Config{Registers: strings.Split(cluster.URLs(), ","), Log: slog.New(slog.DiscardHandler)}, h)
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	next := func(want string) {
		t.Helper()
		select {
		case got := <-h.told:
			if got != want {
				t.Errorf("told of %q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("not told of %q", want)
		}
	}
	next("connected g1")
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	next("gone g1")
	if _, err := g.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	g.Again()
	next("connected g1")
}

// links is a handler that hears of links.
type links struct{ told chan string }

func (l *links) Handle(context.Context, *worker.Event) error { return nil }
func (l *links) GatewayConnected(_ context.Context, g worker.GatewayLink) {
	l.told <- "connected " + string(g.Gateway)
}
func (l *links) GatewayGone(_ context.Context, g worker.GatewayLink) {
	l.told <- "gone " + string(g.Gateway)
}

// A gateway, its bus and a register listen on IPv6 like on IPv4.
func TestIPv6(t *testing.T) {
	register, clients := testbed.MustFreeAddr(t, "::1"), testbed.MustFreeAddr(t, "::1")
	p := testbed.Start(t, testbed.Spec{Name: "all", Args: []string{"dev",
		"--set", "register.listen=" + register, "--set", "register.cluster.listen=" + testbed.MustFreeAddr(t, "::1"),
		"--set", "gateway.listen=" + clients, "--set", "gateway.bus.listen=" + testbed.MustFreeAddr(t, "::1"),
		"--set", "admin.listen=" + testbed.MustFreeAddr(t, "::1"), "--set", "worker.handler.type=echo",
	}})
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	c, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+clients+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("six")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.ReadMessage(); err != nil || string(data) != "six" {
		t.Errorf("got %q, %v", data, err)
	}
}
