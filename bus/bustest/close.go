package bustest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
)

var closeCases = []Case{
	{"close/every call fails", closeEveryCall},
	{"close/no callback afterwards", closeNoCallback},
	{"close/waits for the callback", closeWaits},
	{"close/while in use", closeInUse},
}

func closeEveryCall(f *fixture) {
	c := f.conn()
	s := f.subscribe(c, ignore, "closed.*")
	q := f.join(c, "closed.*", "q", ignore)
	c.Close()
	c.Close() // again is fine
	ctx := f.bounded()
	m := &bus.Msg{Subject: "closed.a", Header: bus.Header{"Gb-Kind": {"text"}}, Data: []byte("x")}
	_, subscribe := c.Subscribe(ignore, "closed.b")
	_, queueSubscribe := c.QueueSubscribe("closed.b", "q", ignore)
	_, request := c.Request(ctx, m)
	for name, err := range map[string]error{
		"Publish":              c.Publish(m),
		"Subscribe":            subscribe,
		"QueueSubscribe":       queueSubscribe,
		"Request":              request,
		"Flush":                c.Flush(ctx),
		"Drain":                s.Drain(ctx),
		"Drain, of a queue":    q.Drain(ctx),
		"Drain, another time":  s.Drain(ctx),
		"Publish, bad subject": c.Publish(&bus.Msg{}),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			f.Errorf("%s = %v, want ErrClosed", name, err)
		}
	}
	if n := s.Dropped(); n != 0 {
		f.Errorf("Dropped = %d", n)
	}
}

func closeNoCallback(f *fixture) {
	pub, sub := f.conn(), f.conn()
	var closed atomic.Bool
	var late atomic.Int32
	r := newRecord()
	fn := func(m *bus.Msg) {
		if closed.Load() {
			late.Add(1)
		}
		if r.len() < 100 {
			r.add(m)
		}
	}
	f.subscribe(sub, fn, "flow")
	f.subscribe(sub, fn, "flow")
	f.join(sub, "flow", "q", fn)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := pub.Publish(numbered("flow", i)); err != nil {
				f.Errorf("Publish: %v", err)
				return
			}
			if i%50 == 49 {
				if err := pub.Flush(context.Background()); err != nil {
					f.Errorf("Flush: %v", err)
					return
				}
				runtime.Gosched()
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	r.await(f, 100)
	sub.Close()
	closed.Store(true)
	f.flush(pub, pub, pub)
	if n := late.Load(); n > 0 {
		f.Errorf("%d callbacks after Close", n)
	}
}

func closeWaits(f *fixture) {
	pub, sub := f.conn(), f.conn()
	r := newRecord()
	g := f.newGate(r.add)
	f.subscribe(sub, g.pass, "held")
	f.publish(pub, &bus.Msg{Subject: "held"})
	wait(f, "the callback", g.entered)
	closed := make(chan struct{})
	go func() {
		sub.Close()
		if r.len() != 1 {
			f.Error("Close has returned, the callback has not")
		}
		close(closed)
	}()
	for end := f.bounded(); !errors.Is(sub.Publish(&bus.Msg{Subject: "x"}), bus.ErrClosed); {
		if end.Err() != nil {
			f.Fatal("the connection is not closed")
		}
		runtime.Gosched()
	}
	g.open()
	wait(f, "Close", closed)
}

func closeInUse(f *fixture) {
	c := f.conn()
	f.subscribe(c, f.answer(f.conn(), echo), "use.ask")
	ctx := f.bounded()
	started := make(chan struct{}, 5)
	var wg sync.WaitGroup
	for name, call := range map[string]func() error{
		"Publish": func() error { return c.Publish(&bus.Msg{Subject: "use.pub"}) },
		"Request": func() error {
			_, err := c.Request(ctx, &bus.Msg{Subject: "use.ask"})
			return err
		},
		"Flush": func() error { return c.Flush(ctx) },
		"Subscribe": func() error {
			s, err := c.Subscribe(ignore, "use.*")
			if err == nil {
				err = s.Drain(ctx)
			}
			return err
		},
		"QueueSubscribe": func() error {
			s, err := c.QueueSubscribe("use.*", "q", ignore)
			if err == nil {
				s.Dropped()
				err = s.Drain(ctx)
			}
			return err
		},
	} {
		wg.Go(func() {
			for i := 0; ; i++ {
				// With one processor and a bus that never waits for anything,
				// one of these loops could keep the others from running.
				runtime.Gosched()
				if i == 3 {
					started <- struct{}{}
				}
				if err := call(); errors.Is(err, bus.ErrClosed) {
					return
				} else if err != nil {
					f.Errorf("%s: %v", name, err)
					if i < 3 {
						started <- struct{}{}
					}
					return
				}
			}
		})
	}
	for range cap(started) {
		wait(f, "the calls", started)
	}
	c.Close()
	wg.Wait()
}
