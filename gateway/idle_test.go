package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// Without being asked to, a gateway leaves the silent of these protocols alone.
func TestPlainSilence(t *testing.T) {
	inEveryProtocol(t, nil, func(t *testing.T, f *plainFixture) {
		f.worker(echo)
		c := f.dialPlain()
		time.Sleep(10 * time.Minute)
		equal(t, "frames", c.has(), "")
		c.send("a")
		equal(t, "answer", c.has(), "a")
	})
}

func TestPingData(t *testing.T) {
	pinging := func(c *Config) { c.Listeners[0].PingData = "*" }
	inEveryProtocol(t, pinging, func(t *testing.T, f *plainFixture) {
		f.worker(echo)
		c := f.dialPlain()
		interval := f.gw.config().PingInterval
		time.Sleep(interval - 5*time.Second)
		equal(t, "not yet", c.has(), "")
		c.send("a")
		equal(t, "answer", c.has(), "a")
		time.Sleep(interval - 5*time.Second)
		equal(t, "it was heard", c.has(), "")
		time.Sleep(2 * interval)
		equal(t, "asked", c.has(), "* *")
		time.Sleep(10 * interval)
		equal(t, "asked again and again", strings.Count(c.has(), "*"), 10)
		equal(t, "open", c.open(), true)
	})
}

func TestIdleTimeout(t *testing.T) {
	impatient := func(c *Config) { c.Listeners[0].IdleTimeout = 90 * time.Second }
	inEveryProtocol(t, impatient, func(t *testing.T, f *plainFixture) {
		var rec recorder
		f.worker(func(ev bus.Event) *bus.Reply { rec.add(ev); return echo(ev) })
		c := f.dialPlain()
		for range 5 {
			time.Sleep(80 * time.Second)
			c.send("a")
			equal(t, "answer", c.has(), "a")
		}
		start := time.Now()
		c.ended()
		if took := time.Since(start); took < 90*time.Second || took > 95*time.Second {
			t.Errorf("closed after %v", took)
		}
		synctest.Wait()
		equal(t, "events", rec.took(), "open "+f.words("a a a a a")+" close:4001")
		equal(t, "silent", f.gw.Stats().ClosedSilent, 1)
	})
}

// A client that is not read is not silent.
func TestIdleTimeoutOfOneThatIsNotRead(t *testing.T) {
	impatient := func(c *Config) { c.Listeners[0].IdleTimeout, c.QueueFrames = 10*time.Second, 1 }
	inEveryProtocol(t, impatient, func(t *testing.T, f *plainFixture) {
		w := f.sdk("w")
		c := f.connect()
		go c.read()
		w.answer()
		go c.send("a", "b", "c", "d")
		for range 20 { // the worker is at it, and says so
			time.Sleep(time.Second)
			synctest.Wait()
			w.mu.Lock()
			for _, ev := range w.held {
				w.reply(ev, &bus.Reply{Status: bus.Working})
			}
			w.mu.Unlock()
		}
		equal(t, "open", c.open(), true)
		got := ""
		for len(got) < 4 {
			w.answer()
			got += strings.ReplaceAll(c.has(), " ", "")
		}
		equal(t, "answers", got, "abcd")
	})
}

// On a WebSocket listener the data of a ping is a message beside the ping, for
// clients that cannot see that.
func TestPingDataOfWebSocket(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Listeners = []Listener{{Listen: "127.0.0.1:1", PingData: `{"type":"ping"}`}}
	}, func(t *testing.T, f *fixture) {
		f.worker(echo)
		first := f.dial("/")
		f.listener = f.others[0]
		p, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		pings := 0
		p.conn.SetPingHandler(func(string) error { pings++; return nil }) // does not answer
		go p.read()
		time.Sleep(f.gw.config().PingInterval + 10*time.Second)
		synctest.Wait()
		equal(t, "frames", p.got(), `{"type":"ping"}`)
		equal(t, "pings", pings, 1)
		equal(t, "on the main listener", first.got(), "")
	})
}
