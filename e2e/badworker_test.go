package e2e_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/testbed"
)

func TestWorkerThatAnswersTwice(t *testing.T) {
	t.Parallel()
	g := lone(t)
	plainWorker(t, g, func(m *nats.Msg) {
		m.Respond(m.Data)
		m.Respond([]byte("once more: " + string(m.Data)))
	})
	const clients, frames = 5, 50
	_, err := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames, Window: 3}, ws(t, g)).Wait(soon(t))
	must(t, err)
	s := awaitStats(t, g, "each second answer counted", func(s gateway.Stats) bool { return s.LateReply == clients*frames })
	if s.Redelivery != 0 || s.BadReply != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWorkerThatNeverAnswersBesideAGoodOne(t *testing.T) {
	t.Parallel()
	g := lone(t, "gateway.ack_wait=100ms", "gateway.max_deliver=30")
	plainWorker(t, g, echo)
	plainWorker(t, g, func(*nats.Msg) {})
	const clients, frames = 20, 10
	total, err := testbed.StartLoad(t, clients, testbed.Numbered{Frames: frames}, ws(t, g)).Wait(soon(t))
	must(t, err)
	if total.Answered != clients*frames {
		t.Errorf("%+v", total)
	}
	if s := gatewayStats(t, g); s.Redelivery == 0 || s.DroppedPoison != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOnlyAWorkerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	g := lone(t, "gateway.ack_wait=200ms", "gateway.max_deliver=3")
	var (
		mu   sync.Mutex
		seen []string
	)
	plainWorker(t, g, func(m *nats.Msg) {
		if string(m.Data) != "poison" {
			echo(m)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, m.Header.Get("Gb-Delivery"))
	})
	check := unharmed(t, ws(t, g))
	c := dial(t, ws(t, g))
	start := time.Now()
	write(t, c, "poison")
	closedWith(t, c, websocket.CloseInternalServerErr)
	if took := time.Since(start); took < 600*time.Millisecond {
		t.Errorf("given up after %v, before three times ack_wait", took)
	}
	mu.Lock()
	if got := strings.Join(seen, ","); got != ",2,3" {
		t.Errorf("deliveries %q, want the first unmarked, then 2 and 3", got)
	}
	mu.Unlock()
	if s := gatewayStats(t, g); s.DroppedPoison != 1 || s.Redelivery != 2 {
		t.Errorf("%+v", s)
	}
	check()
}

func TestRepliesThatBreakTheProtocol(t *testing.T) {
	t.Parallel()
	g := lone(t)
	bad := map[string]*nats.Msg{
		"unknown status":        {Header: nats.Header{"Gb-Status": {"whatever"}}},
		"close code of no use":  {Header: nats.Header{"Gb-Status": {"close 17"}}},
		"close code in letters": {Header: nats.Header{"Gb-Status": {"close now"}}},
		"unknown kind":          {Header: nats.Header{"Gb-Kind": {"picture"}}, Data: []byte("x")},
		"text that is no UTF-8": {Data: []byte("caf\xe9")},
	}
	plainWorker(t, g, func(m *nats.Msg) {
		if r := bad[string(m.Data)]; r != nil {
			m.RespondMsg(&nats.Msg{Subject: m.Reply, Header: r.Header, Data: r.Data})
			return
		}
		echo(m)
	})
	check := unharmed(t, ws(t, g))
	for name := range bad {
		t.Run(name, func(t *testing.T) {
			c := dial(t, ws(t, g))
			echoes(t, c, "hello")
			write(t, c, name)
			closedWith(t, c, websocket.CloseInternalServerErr)
		})
	}
	check()
	if s := gatewayStats(t, g); s.BadReply != int64(len(bad)) {
		t.Errorf("%d bad replies counted, want %d", s.BadReply, len(bad))
	}
}

// A redelivery is marked, and what comes after it is not, also when the client
// has headers of its own.
func TestOnlyTheRedeliveryIsMarked(t *testing.T) {
	t.Parallel()
	g := lone(t, "gateway.ack_wait=100ms")
	nc := connect(t, "nats://"+addr(t, g, "bus"))
	var (
		mu   sync.Mutex
		seen []string
	)
	_, err := nc.QueueSubscribe("gw.*.in.default.*", "default", func(m *nats.Msg) {
		switch {
		case strings.HasSuffix(m.Subject, ".open"):
			m.Respond([]byte(`{"uid":"ann","session":{"n":1}}`))
			return
		case strings.HasSuffix(m.Subject, ".close"):
			m.Respond(nil)
			return
		}
		delivery := m.Header.Get("Gb-Delivery")
		mu.Lock()
		seen = append(seen, string(m.Data)+"/"+delivery+"/"+m.Header.Get("Gb-Uid")+"/"+m.Header.Get("Gb-Session"))
		mu.Unlock()
		if string(m.Data) != "twice" || delivery == "2" {
			echo(m)
		}
	})
	must(t, err)
	must(t, nc.FlushTimeout(testbed.Patience))
	c := dial(t, ws(t, g))
	echoes(t, c, "before")
	echoes(t, c, "twice")
	echoes(t, c, "after")
	mu.Lock()
	defer mu.Unlock()
	want := `before//ann/{"n":1} twice//ann/{"n":1} twice/2/ann/{"n":1} after//ann/{"n":1}`
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}
}
