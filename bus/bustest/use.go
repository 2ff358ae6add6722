package bustest

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gatebus/gatebus/bus"
)

var useCases = []Case{
	{"use/concurrently", concurrently},
}

// concurrently does everything at once on one connection; it is for the race
// detector.
func concurrently(f *fixture) {
	const goroutines, rounds = 8, 20
	c := f.conn()
	ctx := f.bounded()
	f.join(c, "busy.ask", "q", f.answer(c, echo))
	var heard atomic.Int32
	all := f.subscribe(c, func(*bus.Msg) { heard.Add(1) }, "busy.all")
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			own := "busy.own." + strconv.Itoa(g)
			for i := range rounds {
				r := newRecord()
				s, err := c.Subscribe(r.add, own, own+".*")
				if err != nil {
					f.Errorf("Subscribe: %v", err)
					return
				}
				for _, subject := range []string{"busy.all", own, own + ".x"} {
					if err := c.Publish(numbered(subject, i)); err != nil {
						f.Errorf("Publish: %v", err)
					}
				}
				if a, err := c.Request(ctx, numbered("busy.ask", i)); err != nil || string(a.Data) != strconv.Itoa(i) {
					f.Errorf("Request = %v, %v", a, err)
				}
				if err := c.Flush(ctx); err != nil {
					f.Errorf("Flush: %v", err)
				}
				if err := s.Drain(ctx); err != nil {
					f.Errorf("Drain: %v", err)
				}
				if n, d := r.len(), s.Dropped(); n != 2 || d != 0 {
					f.Errorf("got %d messages, dropped %d", n, d)
				}
			}
		})
	}
	wg.Wait()
	f.drain(all)
	if n := heard.Load(); n != goroutines*rounds {
		f.Errorf("heard %d messages, want %d", n, goroutines*rounds)
	}
}
