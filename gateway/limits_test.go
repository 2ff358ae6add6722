package gateway

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/bus"
)

// reload changes the limits of a gateway that runs.
func (f *fixture) limit(l Limits) {
	f.t.Helper()
	cfg := *f.gw.config()
	cfg.Limits = l
	if err := f.gw.Reload(cfg); err != nil {
		f.t.Fatal(err)
	}
}

// status is how a handshake ends.
func (f *fixture) status(header http.Header) (code int, retry string, p *peer) {
	f.t.Helper()
	p, resp, err := f.tryDial("/", header)
	if resp == nil {
		f.t.Fatal(err)
	}
	if p != nil {
		go p.read()
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), p
}

func TestLimitsAreChecked(t *testing.T) {
	c := DefaultConfig()
	c.Limits = Limits{-1, -1, -1, -1, -1, time.Millisecond, 1}
	err := c.Validate()
	for _, key := range []string{"clients", "clients_per_address", "connects_per_second", "frames_per_second", "bytes_per_second", "unauthenticated", "buffered_bytes"} {
		if err == nil || !strings.Contains(err.Error(), "limits."+key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// There is room for so many clients, and for one more when one has left.
func TestLimitOfClients(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Limits.Clients = 2
		c.Listeners = []Listener{{Listen: "127.0.0.1:1", Protocol: ProtocolText}}
	}, func(t *testing.T, f *fixture) {
		f.worker(echo)
		_, _, p := f.status(nil)
		_, _, q := f.status(nil)
		code, retry, _ := f.status(nil)
		equal(t, "the third", code, http.StatusServiceUnavailable)
		equal(t, "which may come again", retry, "5")
		conn := f.others[0].dialFrom(t, "192.0.2.1:5")
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("one without HTTP: %q, %v", got, err)
		}
		equal(t, "counted", f.gw.Stats().RefusedFor["clients"], 2)
		equal(t, "events", f.gw.Stats().EventsIn, 2)
		_ = p.conn.Close()
		synctest.Wait()
		code, _, _ = f.status(nil)
		equal(t, "when one has left", code, http.StatusSwitchingProtocols)
		f.limit(Limits{Clients: 1})
		q.send("still here")
		synctest.Wait()
		equal(t, "one that there was too many of", q.got(), "still here")
	})
}

// Clients count for the address that they come from, whoever connects for them; those
// that are refused by a worker count no more.
func TestLimitOfClientsPerAddress(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Limits.ClientsPerAddress = 2
		c.TrustedProxies = []string{"127.0.0.1"}
	}, func(t *testing.T, f *fixture) {
		f.listener.remote = "127.0.0.1:5"
		var refuse bool
		f.worker(func(ev bus.Event) *bus.Reply {
			if refuse {
				return &bus.Reply{Status: bus.Rejected, Code: 403}
			}
			return &bus.Reply{}
		})
		from := func(addr string) int {
			code, _, _ := f.status(http.Header{"X-Forwarded-For": {addr}})
			return code
		}
		refuse = true
		for range 3 {
			equal(t, "refused by a worker", from("198.51.100.7"), http.StatusForbidden)
		}
		refuse = false
		for _, addr := range []string{"198.51.100.7", "198.51.100.8", "2001:db8::1", "2001:db8:0:1::1"} {
			equal(t, "the first of "+addr, from(addr), http.StatusSwitchingProtocols)
		}
		for _, addr := range []string{"198.51.100.7", "2001:db8::ffff:2"} {
			equal(t, "the second of "+addr, from(addr), http.StatusSwitchingProtocols)
			equal(t, "the third of "+addr, from(addr), http.StatusTooManyRequests)
		}
		equal(t, "counted", f.gw.Stats().RefusedFor["clients_per_address"], 2)
		f.stop()
		equal(t, "left of the count", len(f.gw.crowd.byAddr)+f.gw.crowd.total, 0)
	})
}

func TestCrowd(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		equal(t, addr, crowdOf(netip.MustParseAddr(addr)).String(), want)
	}
	equal(t, "none", crowdOf(netip.Addr{}).IsValid(), false)
}

// So many come in a second.
func TestLimitOfConnects(t *testing.T) {
	inBubble(t, func(c *Config) { c.Limits.ConnectsPerSecond = 3 }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		let := func(tries int) (in int) {
			for range tries {
				if code, _, _ := f.status(nil); code == http.StatusSwitchingProtocols {
					in++
				}
			}
			return in
		}
		equal(t, "at once", let(10), 3)
		time.Sleep(time.Second/3 + time.Millisecond)
		equal(t, "after a third of a second", let(10), 1)
		time.Sleep(time.Hour)
		equal(t, "after an hour", let(10), 3)
		equal(t, "counted", f.gw.Stats().RefusedFor["connects_per_second"], 7+9+7)
	})
}

// Who sends faster than that is closed, in every protocol, and nobody else.
func TestLimitOfFrames(t *testing.T) {
	for _, limits := range []Limits{{FramesPerSecond: 10}, {BytesPerSecond: 10 * len("*")}} {
		inBubble(t, func(c *Config) {
			c.Listeners = []Listener{{Listen: "127.0.0.1:1", Protocol: ProtocolRaw}}
		}, func(t *testing.T, f *fixture) {
			f.worker(func(ev bus.Event) *bus.Reply { return &bus.Reply{} })
			steady, fast := f.dial("/"), f.dial("/")
			if limits.FramesPerSecond == 0 {
				limits.BytesPerSecond *= 7 // header, key and payload
			}
			fast.send(strings.Split(strings.Repeat("*", 100), "")...)
			synctest.Wait()
			equal(t, "without a limit", fast.open(), true)
			f.limit(limits)
			for range 20 {
				steady.send("*")
			}
			for range 50 {
				time.Sleep(time.Second / 10)
				steady.send("*")
			}
			synctest.Wait()
			equal(t, "a steady one", steady.open(), true)
			go fast.send(strings.Split(strings.Repeat("*", 21), "")...)
			equal(t, "a fast one", fast.closed(), bus.CloseRateLimit)

			raw := f.others[0].dialFrom(t, "192.0.2.1:5")
			go func() {
				for range 1000 {
					if _, err := io.WriteString(raw, "*******"); err != nil {
						return
					}
				}
			}()
			if _, err := io.ReadAll(raw); err != nil {
				t.Error(err)
			}
			equal(t, "counted", f.gw.Stats().Closed["4004"], 2)
		})
	}
}

// Pings are frames.
func TestLimitOfPings(t *testing.T) {
	inBubble(t, func(c *Config) { c.Limits.FramesPerSecond = 10 }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		p := f.dial("/")
		go func() {
			for range 21 {
				_ = p.conn.WriteControl(9, nil, time.Now().Add(time.Hour)) // fails at the end
			}
		}()
		equal(t, "closed", p.closed(), bus.CloseRateLimit)
	})
}

// A client needs a uid in time, and anew when it has it no more.
func TestLimitOfUnauthenticated(t *testing.T) {
	inBubble(t, func(c *Config) { c.Limits.Unauthenticated = 10 * time.Second }, func(t *testing.T, f *fixture) {
		f.worker(func(ev bus.Event) *bus.Reply {
			if ev.Kind == bus.Text {
				c := f.gw.index.get(ev.Client)
				if _, _, _, err := f.gw.index.bind(c, string(ev.Data[1:]), bus.AllowOthers); err != nil {
					t.Error(err)
				}
			}
			return &bus.Reply{}
		})
		p, q := f.dial("/"), f.dial("/")
		time.Sleep(9 * time.Second)
		p.send("+ann")
		synctest.Wait()
		equal(t, "one without a uid, before", q.open(), true)
		time.Sleep(2 * time.Second)
		equal(t, "one without a uid", q.closed(), bus.CloseUnauthenticated)
		time.Sleep(time.Hour)
		equal(t, "one with a uid", p.open(), true)
		p.send("+")
		time.Sleep(9 * time.Second)
		equal(t, "one that has lost it", p.open(), true)
		time.Sleep(2 * time.Second)
		equal(t, "one that has lost it, later", p.closed(), bus.CloseUnauthenticated)
		equal(t, "counted", f.gw.Stats().Closed["4005"], 2)
	})
}

// When too much waits, those go that most waits for, and no others.
func TestLimitOfBufferedBytes(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Limits.BufferedBytes, c.SendBytes, c.WriteTimeout = 2<<20, 4<<20, time.Hour
		c.PongTimeout = time.Hour
	}, func(t *testing.T, f *fixture) {
		f.worker(echo)
		reader := f.dial("/")
		var deaf []*peer
		for range 4 {
			p, _, err := f.tryDial("/", nil) // does not read
			if err != nil {
				t.Fatal(err)
			}
			deaf = append(deaf, p)
		}
		push := func(i int, n int) {
			for _, c := range f.gw.index.all() {
				if c.number == uint64(i+2) {
					c.mu.Lock()
					c.pushLocked(frame{kind: bus.Text, data: make([]byte, n)})
					c.mu.Unlock()
				}
			}
		}
		for i := range deaf {
			push(i, 1) // on its way
			synctest.Wait()
			push(i, (i+1)*200<<10)
		}
		synctest.Wait()
		equal(t, "counted while there is room", f.gw.Stats().Door.Buffered, 2000<<10)
		push(0, 200<<10) // more than there is room for; 1400 KiB have to go: 800 and 600
		time.Sleep(time.Second)
		for i, p := range deaf {
			go p.read()
			if i >= 2 {
				equal(t, "one that most waits for", p.closed(), bus.CloseSlowClient)
			}
		}
		synctest.Wait()
		equal(t, "the others", deaf[0].open() && deaf[1].open(), true)
		reader.send("hello")
		synctest.Wait()
		equal(t, "who reads", reader.got(), "hello")
		equal(t, "counted", f.gw.Stats().Door.ClosedMemory, 2)
		equal(t, "what waits by now", f.gw.Stats().Door.Buffered, 0)
		// What waits for one that breaks off is given back.
		gone, _, err := f.tryDial("/", nil)
		if err != nil {
			t.Fatal(err)
		}
		push(4, 1)
		synctest.Wait()
		push(4, 400<<10)
		equal(t, "what waits for another", f.gw.Stats().Door.Buffered, 400<<10)
		_ = gone.conn.NetConn().Close()
		synctest.Wait()
		equal(t, "what waits when it has left", f.gw.Stats().Door.Buffered, 0)
	})
}

// When too much waits for workers, clients are slowed down, and none is closed.
func TestBufferedBytesSlowDown(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Limits.BufferedBytes, c.QueueBytes, c.SendBytes, c.MaxFrame = minBuffered, 64<<20, 64<<20, 512<<10
		c.Hold, c.PongTimeout = 24*time.Hour, 24*time.Hour
	}, func(t *testing.T, f *fixture) {
		leave := f.worker(echo)
		const clients, frames = 4, 20
		var peers []*peer
		for range clients {
			peers = append(peers, f.dial("/"))
		}
		leave()
		synctest.Wait()
		var sent atomic.Int64
		for _, p := range peers {
			go func() {
				for range frames {
					if p.conn.WriteMessage(websocket.TextMessage, make([]byte, 100<<10)) != nil {
						return
					}
				}
				sent.Add(1)
			}()
		}
		time.Sleep(time.Minute)
		equal(t, "clients that could send all", sent.Load(), 0)
		if n := f.gw.Stats().Door.Buffered; n <= minBuffered || n > minBuffered+clients*(200<<10) {
			t.Errorf("%d bytes wait", n)
		}
		f.worker(echo)
		time.Sleep(time.Minute)
		for _, p := range peers {
			p.mu.Lock()
			n, end := len(p.frames), p.end
			p.mu.Unlock()
			if n != frames || end != nil {
				t.Errorf("%d answers of %d, then %v", n, frames, end)
			}
		}
		equal(t, "what waits at the end", f.gw.Stats().Door.Buffered, 0)
	})
}

// Frames of which only a part comes are counted, and given back.
func TestBufferedBytesOfParts(t *testing.T) {
	inBubble(t, func(c *Config) {
		c.Limits.BufferedBytes, c.MaxFrame = minBuffered, 512<<10
		c.Listeners = []Listener{{Listen: "127.0.0.1:1", Protocol: ProtocolText}}
	}, func(t *testing.T, f *fixture) {
		f.worker(echo)
		for range 3 {
			conn := f.others[0].dialFrom(t, "192.0.2.1:5")
			go func() { _, _ = io.WriteString(conn, strings.Repeat("*", 400<<10)) }() // one is closed
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
		time.Sleep(time.Minute)
		equal(t, "closed", f.gw.Stats().Door.ClosedMemory, 2)
		equal(t, "clients left", f.gw.Stats().Clients, 1)
		equal(t, "what waits", f.gw.Stats().Door.Buffered, 400<<10)
		f.stop()
		equal(t, "what waits at the end", f.gw.Stats().Door.Buffered, 0)
	})
}
