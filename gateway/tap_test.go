package gateway

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

// watcher is somebody who is subscribed at a register.
type watcher struct {
	mu  sync.Mutex
	got []string
}

// watch attaches a register to the gateway, with somebody who sees all of it.
func watch(f *fixture) (registers *membus.Conn, w *watcher) {
	f.t.Helper()
	var at membus.Bus
	link, registers := at.Connect(), at.Connect()
	f.t.Cleanup(link.Close)
	f.t.Cleanup(registers.Close)
	if err := f.gw.Attach(link); err != nil {
		f.t.Fatal(err)
	}
	w = &watcher{}
	if _, err := registers.Subscribe(func(m *bus.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		var line strings.Builder
		line.WriteString(strings.TrimPrefix(m.Subject, "gw.g1.") + "=" + string(m.Data))
		for _, h := range []string{bus.HeaderClient, bus.HeaderSeq, bus.HeaderDelivery, bus.HeaderUID, bus.HeaderKind, bus.HeaderSize} {
			if v := m.Header.Get(h); v != "" {
				line.WriteString(" " + h[3:] + ":" + v)
			}
		}
		w.got = append(w.got, line.String())
	}, "gw.g1.in.>", "gw.g1.out.>", "gw.g1.push.>", "gw.g1.do.>", "gw.g1.tap.>"); err != nil {
		f.t.Fatal(err)
	}
	return registers, w
}

func (w *watcher) seen() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

func tell(t *testing.T, registers *membus.Conn, name string, subjects ...string) {
	t.Helper()
	if err := registers.Publish(bus.Taps{Register: name, Subjects: subjects}.Msg()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// What somebody is subscribed to is mirrored, one message a frame, and nothing else.
func TestTap(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		ids := f.admit(&rec)
		registers, w := watch(f)
		p := f.dialReply("/a", `{"uid":"ö","groups":["x"]}`)
		q := f.dialReply("/b", `{}`)
		talk := func() {
			p.send("hi")
			q.send("ho")
			synctest.Wait()
			f.push(bus.ToGroup, "x", "news")
		}
		talk()
		equal(t, "seen by nobody", len(w.seen()), 0)

		tell(t, registers, "r1", "gw.>")
		talk()
		a, b := string(ids["/a"]), string(ids["/b"])
		want := []string{
			"in.default.text=hi Client:" + a + " Seq:3 Uid:%C3%B6", "out." + a + ".3=hi",
			"in.default.text=ho Client:" + b + " Seq:3", "out." + b + ".3=ho", "push.group.x=news",
		}
		got := w.seen()
		slices.Sort(got)
		slices.Sort(want)
		equal(t, "all of it", strings.Join(got, "\n"), strings.Join(want, "\n"))

		tell(t, registers, "r1", "gw.*.push.>", "gw.g2.>")
		talk()
		equal(t, "pushes", strings.Join(w.seen(), "\n"), "push.group.x=news")

		tell(t, registers, "r1", bus.ClientTap("g1", ids["/a"]))
		talk()
		prefix := "tap." + a + "."
		equal(t, "a client", strings.Join(w.seen(), "\n"),
			prefix+"in.text=hi Client:"+a+" Seq:5 Uid:%C3%B6\n"+prefix+"out.text=hi\n"+prefix+"out.text=news")

		tell(t, registers, "r1")
		talk()
		equal(t, "nothing more", len(w.seen()), 0)

		tell(t, registers, "r2", "gw.>")
		time.Sleep(4 * time.Second) // the register is gone
		talk()
		equal(t, "nothing of a register that is silent", len(w.seen()), 0)
		equal(t, "frames", strings.TrimSpace(q.got()), "ho ho ho ho ho ho")
	})
}

// What is too much is counted and said.
func TestTapRate(t *testing.T) {
	inBubble(t, func(c *Config) { c.Tap.Rate, c.Tap.Payloads = 10, false }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		registers, w := watch(f)
		p := f.dial("/")
		tell(t, registers, "r1", "gw.*.in.>")
		for i := range 50 {
			p.send(fmt.Sprint(i))
			synctest.Wait()
		}
		got := w.seen()
		equal(t, "mirrored at once", len(got), 1)
		if !strings.HasSuffix(got[0], "Size:1") || !strings.Contains(got[0], "text= ") {
			t.Errorf("a payload that is hidden: %q", got[0])
		}
		tell(t, registers, "r1", "gw.*.in.>")
		time.Sleep(time.Second)
		equal(t, "said", strings.Join(w.seen(), "\n"), `tap.skipped={"gateway":"g1","skipped":49}`)
		st := f.gw.Stats()
		equal(t, "counted as mirrored", st.Tapped, int64(1))
		equal(t, "counted as skipped, for good", st.TapSkipped, int64(49))
	})
}

// A gateway that is not to be tapped is not.
func TestTapDisabled(t *testing.T) {
	inBubble(t, func(c *Config) { c.Tap.Enabled = false }, func(t *testing.T, f *fixture) {
		f.worker(echo)
		registers, w := watch(f)
		tell(t, registers, "r1", "gw.>")
		f.dial("/").send("x")
		equal(t, "seen", len(w.seen()), 0)
	})
}

// Nothing more is to be seen of a gateway that is told so while it is tapped.
func TestTapIsTurnedOff(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.worker(echo)
		registers, w := watch(f)
		p := f.dial("/")
		tell(t, registers, "r1", "gw.*.in.>")
		p.send("x")
		equal(t, "seen", len(w.seen()), 1)
		cfg := *f.gw.config()
		cfg.Tap.Enabled = false
		if err := f.gw.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		p.send("y")
		equal(t, "seen afterwards", len(w.seen()), 0)
	})
}
