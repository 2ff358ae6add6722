package e2e_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/gateway"
)

func TestNoWorkerRefusesAfterHold(t *testing.T) {
	t.Parallel()
	const hold = 500 * time.Millisecond
	g := lone(t, "gateway.hold="+hold.String())
	url := ws(t, g)
	start := time.Now()
	_, resp, err := websocket.DefaultDialer.DialContext(soon(t), url, nil)
	took := time.Since(start)
	if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, %v; want 503", resp, err)
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || s < 1 {
		t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
	}
	if took < hold {
		t.Errorf("refused after %v, before hold (%v) was over", took, hold)
	}
}

func TestWorkerThatAppearsWithinHoldServesThoseWhoWait(t *testing.T) {
	t.Parallel()
	g := lone(t, "gateway.hold=20s")
	url := ws(t, g)
	const clients = 20
	results := make(chan error, clients)
	for range clients {
		go func() {
			c, _, err := websocket.DefaultDialer.DialContext(soon(t), url, nil)
			if err == nil {
				err = c.Close()
			}
			results <- err
		}()
	}
	awaitStats(t, g, "all wait", func(s gateway.Stats) bool { return s.Waiting >= clients-1 }) // one is out as a trial
	plainWorker(t, g, echo)
	start := time.Now()
	for range clients {
		must(t, <-results)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the clients were let in %v after the worker came", took)
	}
}

func TestWorkerThatVanishesIsWaitedFor(t *testing.T) {
	t.Parallel()
	const hold = 3 * time.Second
	g := lone(t, "gateway.hold="+hold.String())
	first := plainWorker(t, g, echo)
	c := dial(t, ws(t, g))
	echoes(t, c, "hello")

	first.Close()
	for _, data := range []string{"one", "two", "three"} {
		write(t, c, data)
	}
	awaitStats(t, g, "the client waits", func(s gateway.Stats) bool { return s.Waiting == 1 })
	second := plainWorker(t, g, echo)
	for _, data := range []string{"one", "two", "three"} {
		reads(t, c, data)
	}

	second.Close()
	start := time.Now()
	write(t, c, "anybody?")
	closedWith(t, c, websocket.CloseTryAgainLater)
	if took := time.Since(start); took < hold {
		t.Errorf("closed after %v, before hold (%v) was over", took, hold)
	}
	if s := gatewayStats(t, g); s.DroppedHold != 1 {
		t.Errorf("%d frames counted as dropped, want 1", s.DroppedHold)
	}
}
