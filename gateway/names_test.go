package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// nameReader is a worker that lets clients in with a uid and groups of its choice,
// and keeps what the gateway tells of names.
type nameReader struct {
	t       *testing.T
	at      bus.WorkerAddress
	request uint64 // owned by the test
	conn    bus.Conn

	mu      sync.Mutex
	present map[bus.Target]bool
	ended   uint64 // the request whose end has come
	late    []string
	missing func() bool // tells at an end whether something was to come before it
}

func newNameReader(f *fixture, name string, choose func() bus.OpenReply) *nameReader {
	f.t.Helper()
	r := &nameReader{t: f.t, conn: f.bus.Connect(), present: map[bus.Target]bool{}}
	r.at = bus.NewWorkerAddress(name, r.conn.ID())
	subjects := bus.NamesSubjects("g1", name)
	_, err := r.conn.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
		if bus.IsNames(m.Subject) {
			if err := r.names(m); err != nil {
				f.t.Errorf("%s: %v", m.Subject, err)
			}
			return
		}
		ev, err := bus.ParseEvent(m)
		if err != nil {
			f.t.Errorf("event: %v", err)
			return
		}
		reply := echo(ev)
		if ev.Kind == bus.Open {
			reply.Data, _ = json.Marshal(choose())
		}
		r.knows(ev)
		if err := r.conn.Publish(reply.Msg(ev.Kind, m.Reply)); err != nil {
			f.t.Error(err)
		}
	}, subjects...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(r.conn.Close)
	return r
}

// knows checks that the name of the event's client was told before the event.
func (r *nameReader) knows(ev bus.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ev.Kind.Frame() && ev.UID != "" && r.ended > 0 && !r.present[bus.Target{Scope: bus.ToUID, Name: ev.UID}] {
		r.late = append(r.late, ev.UID)
	}
}

func (r *nameReader) names(m *bus.Msg) error {
	to, err := bus.ParseNamesSubject(m.Subject)
	if err != nil {
		return err
	}
	_, rest, err := bus.BatchEpoch(m.Data)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var request uint64
	if to != "" {
		if request, rest, err = bus.NamesRequestOf(rest); err != nil || request != r.request {
			return err
		}
	}
	for len(rest) > 0 {
		var c bus.NameChange
		var end bool
		if c, end, rest, err = bus.NextName(rest); err != nil {
			return err
		}
		switch {
		case end:
			if r.ended = request; r.missing != nil && r.missing() {
				r.late = append(r.late, "a change")
			}
		case c.Present:
			r.present[c.Target] = true
		default:
			delete(r.present, c.Target)
		}
	}
	return nil
}

// ask forgets everything and asks.
func (r *nameReader) ask() {
	r.mu.Lock()
	r.request++
	r.ended = 0
	clear(r.present)
	m := bus.NamesRequest{Worker: r.at, Request: r.request}.Msg("g1")
	r.mu.Unlock()
	if err := r.conn.Publish(m); err != nil {
		r.t.Error(err)
	}
}

// truth is what the gateway's index has.
func truth(gw *Gateway) map[bus.Target]bool {
	gw.index.mu.RLock()
	defer gw.index.mu.RUnlock()
	all := map[bus.Target]bool{}
	for _, scope := range []bus.Scope{bus.ToUID, bus.ToGroup} {
		for _, name := range gw.index.namesLocked(scope) {
			all[bus.Target{Scope: scope, Name: name}] = true
		}
	}
	return all
}

// Clients come and go with names that they share, and workers ask now and then:
// whenever nothing is on its way, each has been told exactly what there is, and
// never of a client's frame before its name.
func TestNames(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		seed := uint64(time.Now().UnixNano()) + rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		choose := func() bus.OpenReply {
			mu.Lock()
			defer mu.Unlock()
			r := bus.OpenReply{}
			if rnd.IntN(4) > 0 {
				r.UID = fmt.Sprint("uid.", rnd.IntN(8))
			}
			for range rnd.IntN(3) {
				r.Groups = append(r.Groups, fmt.Sprint("group ", rnd.IntN(5)))
			}
			return r
		}
		readers := []*nameReader{newNameReader(f, "wa", choose), newNameReader(f, "wb", choose)}
		var clients []*peer
		for step := range 400 {
			mu.Lock()
			what := rnd.IntN(10)
			mu.Unlock()
			switch {
			case what < 4:
				p := f.dial("/")
				p.send("hello")
				clients = append(clients, p)
			case what < 7 && len(clients) > 0:
				_ = clients[0].conn.Close()
				clients = clients[1:]
			case what == 7:
				readers[step%2].ask()
			case what == 8: // asks twice, the first answer being on its way
				readers[step%2].ask()
				readers[step%2].ask()
			default:
				synctest.Wait()
				want := truth(f.gw)
				for _, r := range readers {
					r.mu.Lock()
					present, ended, request, late := maps.Clone(r.present), r.ended, r.request, r.late
					r.mu.Unlock()
					if request > 0 && (ended != request || !maps.Equal(present, want)) {
						t.Fatalf("step %d: %s was told %v (the end of request %d, of %d), there is %v", step, r.at, present, ended, request, want)
					}
					if len(late) > 0 {
						t.Fatalf("step %d: %s heard of %v only after their frames", step, r.at, late)
					}
				}
			}
		}
		equal(t, "bad requests", f.gw.Stats().BadRequest, 0)
	})
}

// More names than one part holds are all told, and nothing is before somebody asks.
func TestManyNames(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		n := 0
		r := newNameReader(f, "wa", func() bus.OpenReply {
			reply := bus.OpenReply{}
			for range 100 {
				n++
				reply.Groups = append(reply.Groups, fmt.Sprint("group", n))
			}
			return reply
		})
		for range namesPart/100*2 + 5 {
			f.dial("/")
		}
		synctest.Wait()
		equal(t, "told unasked", len(r.present), 0)
		r.ask()
		synctest.Wait()
		equal(t, "ended", r.ended, 1)
		equal(t, "all of them", len(r.present), n)
		equal(t, "as they are", maps.Equal(r.present, truth(f.gw)), true)
	})
}

// hooked calls a function before the first part of the names is published, and lets
// the second wait until a change is.
type hooked struct {
	bus.Conn
	before  func(part string)
	parts   atomic.Int32
	changes atomic.Int32
}

func (h *hooked) Publish(m *bus.Msg) error {
	switch {
	case m.Subject == bus.NamesSubject("g1"):
		defer h.changes.Add(1)
	case bus.IsNames(m.Subject):
		if n := h.parts.Add(1); n == 1 {
			h.before(string(m.Data))
		} else if n == 2 {
			for h.changes.Load() == 0 {
				runtime.Gosched()
			}
		}
	}
	return h.Conn.Publish(m)
}

// A name that goes between two parts is not told in the second.
func TestNameGoesMeanwhile(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		n := 0
		r := newNameReader(f, "wa", func() bus.OpenReply { n++; return bus.OpenReply{UID: fmt.Sprintf("uid%06d", n)} })
		var peers []*peer
		for range namesPart + 50 {
			peers = append(peers, f.dial("/"))
		}
		synctest.Wait()
		x := f.gw.index
		f.gw.conn = &hooked{Conn: f.gw.conn, before: func(part string) {
			i := 0
			for strings.Contains(part, fmt.Sprintf("uid%06d", i+1)) {
				i++
			}
			_ = peers[i].conn.Close()
			// The index is locked for reading. When the client waits to be taken off
			// it, that is before the next part.
			for x.mu.TryRLock() {
				x.mu.RUnlock()
				runtime.Gosched()
			}
		}}
		r.ask()
		synctest.Wait()
		equal(t, "told", len(r.present), namesPart+49)
		equal(t, "as they are", maps.Equal(r.present, truth(f.gw)), true)
		equal(t, "ended", r.ended, 1)
	})
}

// When the connection to a bus that runs elsewhere was lost, workers are told that what
// they know may be old.
func TestNamesLost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.gw.Reconnected() // nobody has asked: nothing to tell
		r := newNameReader(f, "w1", func() bus.OpenReply { return bus.OpenReply{} })
		r.ask()
		synctest.Wait()
		if r.ended != 1 {
			t.Fatalf("the end of request %d has come, want 1", r.ended)
		}
		f.gw.Reconnected()
		synctest.Wait()
		if r.ended != 0 {
			t.Error("the worker was not told")
		}
	})
}

// Who asks for the changes alone has heard of every one before the end.
func TestChangesAlone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		r := newNameReader(f, "wa", func() bus.OpenReply { return bus.OpenReply{} })
		r.ask()
		synctest.Wait()
		check := bus.NamesRequest{Worker: r.at, Request: r.request, Changes: true}
		for i := range 1000 {
			name := bus.Target{Scope: bus.ToUID, Name: fmt.Sprint("u", i)}
			r.mu.Lock()
			r.ended, r.missing = 0, func() bool { return !r.present[name] }
			r.mu.Unlock()
			f.gw.index.mu.Lock()
			f.gw.names.changed(name.Scope, name.Name, true)
			f.gw.index.mu.Unlock()
			if err := r.conn.Publish(check.Msg("g1")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r.mu.Lock()
			equal(t, "ended", r.ended, r.request)
			r.mu.Unlock()
		}
		if len(r.late) > 0 {
			t.Errorf("the end came before %d changes", len(r.late))
		}
	})
}
