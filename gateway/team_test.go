package gateway

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A worker gets as many events in a row as it has, a few at least and not very many, so
// that none has more than twice what another one has, or those few. One whose handlers are
// quick gets as many as it does in no time, if there is much to do.
func TestRun(t *testing.T) {
	const quick = int32(quickRun / (quickEvent + time.Nanosecond))
	for _, c := range []struct {
		name       string
		out, other int64 // with it, and with another one
		took       time.Duration
		run        int32
	}{
		{"nothing to do", 0, 0, 0, runLength},
		{"little to do", runLength - 1, 1000, 0, runLength},
		{"as many again", 20, 1000, 0, 20},
		{"not very many", maxRun, 1000, 0, maxRun},
		{"not more", 10 * maxRun, 1000, 0, maxRun},
		{"quick, with nothing to do", 0, 0, time.Nanosecond, runLength},
		{"quick, with some to do", 4, 6, time.Nanosecond, 10 * quickShare},
		{"quick, with much to do", 0, 1000, time.Nanosecond, quick},
		{"quick, with more to do", 500, 1000, time.Nanosecond, quick},
		{"not so quick", 0, 1000, 8 * time.Microsecond, 50},
		{"slow", 0, 1000, time.Millisecond, runLength},
		{"slow, with some to do", 20, 1000, time.Millisecond, 20},
		{"very slow", 0, 1000, time.Hour, runLength},
	} {
		l, other := &link{}, &link{}
		l.out.Store(c.out)
		other.out.Store(c.other)
		l.took.Store(int64(c.took))
		if got := (&team{links: []*link{l, other}}).length(l); got != c.run {
			t.Errorf("%s: %d in a row, want %d", c.name, got, c.run)
		}
	}
}

// Of very many workers only some are asked.
func TestTeamInFlight(t *testing.T) {
	for _, n := range []int{1, 64, 65, 1000} {
		var tm team
		for range n {
			l := &link{}
			l.out.Store(3)
			tm.links = append(tm.links, l)
		}
		equal(t, fmt.Sprint("of ", n), tm.inFlight(), int64(3*n))
	}
}

// Who is picked gets a run; then it is the turn of the one with the least to do, of several
// not of the one that had its turn.
func TestTurns(t *testing.T) {
	turns := func(tm *team, n int) string {
		var s []string
		for range n {
			s = append(s, string(tm.pick(runUnit-1).at))
		}
		return strings.Join(s, "")
	}
	a, b, c := &link{at: "a"}, &link{at: "b"}, &link{at: "c"}
	as, bs := strings.Repeat("a", runLength), strings.Repeat("b", runLength)

	equal(t, "one", turns(&team{links: []*link{a}}, 3), "aaa")
	two := &team{links: []*link{a, b}}
	if got := turns(two, 4*runLength); got != as+bs+as+bs && got != bs+as+bs+as {
		t.Errorf("two: %s", got)
	}
	c.out.Store(1)
	three := &team{links: []*link{c, a, b}}
	if got := turns(three, 4*runLength); got != as+bs+as+bs && got != bs+as+bs+as {
		t.Errorf("one has more to do: %s", got)
	}
	a.out.Store(2)
	b.out.Store(3)
	three = &team{links: []*link{c, a, b}}
	equal(t, "one has less to do", turns(three, 3*runLength), strings.Repeat("c", 3*runLength))

	two = &team{links: []*link{a, b}}
	equal(t, "least", turns(two, 2), "aa")
	a.limit.Store(2)
	equal(t, "the turn of one that takes no more is over", turns(two, 2), "bb")
}

// Large events are fewer in a row.
func TestRunOfBytes(t *testing.T) {
	for _, c := range []struct{ bytes, run int }{
		{0, runLength}, {runUnit - 1, runLength}, {runUnit, runLength / 2}, {3 * runUnit, runLength / 4}, {1 << 20, 1},
	} {
		a, b := &link{at: "a"}, &link{at: "b"}
		tm := &team{links: []*link{a, b}}
		first, run := tm.pick(c.bytes), 1
		for tm.pick(c.bytes) == first {
			run++
		}
		equal(t, fmt.Sprintf("of %d bytes", c.bytes), run, c.run)
	}
}

// With much to do for quick workers many events in a row go to one; when there is little to
// do later, or the worker stands still, the rest of its turn is not its own.
func TestRunEnds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 200)
		b := f.dense("b")
		for _, w := range []*testWorker{a, b} {
			f.gw.roster.link(w.address()).took.Store(1)
		}
		time.Sleep(5 * rosterInterval / 2) // it is not looked for newcomers any more, with which turns begin anew
		// runs sends a frame of each client, one after the other, and tells how many went
		// to one worker in a row.
		runs := func(clients []*peer, pause time.Duration) (runs []int) {
			var at *testWorker
			for _, p := range clients {
				time.Sleep(pause)
				p.send("x")
				synctest.Wait()
				w := b
				if a.has() != "" {
					w = a
				}
				b.has()
				if w != at {
					at, runs = w, append(runs, 0)
				}
				runs[len(runs)-1]++
			}
			return runs
		}
		first, second := runLength, quickShare*runLength
		third := quickShare * (first + second)
		const rest = 50
		sent := first + second + third - rest
		equal(t, "runs", fmt.Sprint(runs(c[:sent], 0)), fmt.Sprint([]int{first, second, third - rest}))
		// What follows comes slowly, and nothing was answered.
		at := f.gw.roster.link(a.address())
		if other := f.gw.roster.link(b.address()); other.out.Load() > at.out.Load() {
			at = other
		}
		equal(t, "its turn", at.out.Load(), int64(first+third-rest))
		runs(c[sent:sent+2*runLength], runTime+time.Millisecond)
		if more := at.out.Load() - int64(first+third-rest); more >= runLength {
			t.Errorf("%d more went to a worker that stands still", more)
		}
		a.answer()
		b.answer()
	})
}

// A worker tells how quick its handlers are, with some of its answers: it counts as that in
// the mean.
func TestWorkersTell(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		a := f.dense("a")
		c := f.join(a, 1)
		took := func() time.Duration { return time.Duration(f.gw.roster.link(a.address()).took.Load()) }
		tell := func(d time.Duration) {
			t.Helper()
			a.set(func(w *testWorker) { w.tells = d })
			c[0].send("x")
			synctest.Wait()
			a.answer()
			equal(t, "answer", c[0].got(), "x")
		}
		tell(0)
		equal(t, "it has not said", took(), 0)
		tell(time.Millisecond)
		equal(t, "the first", took(), time.Millisecond)
		for range 100 {
			tell(time.Microsecond)
		}
		if d := took(); d > 3*time.Microsecond {
			t.Errorf("it has become quick, and counts as one of %s", d)
		}
		tell(time.Second)
		if d := took(); d < time.Millisecond || d > time.Second/2 {
			t.Errorf("it was slow once, and counts as one of %s", d)
		}
		for i := range 10 {
			tell(time.Hour)
			if d := took(); d < time.Minute {
				t.Fatalf("it is slow, and after %d times counts as one of %s", i+1, d)
			}
		}
		tell(0)
		if d := took(); d < time.Minute {
			t.Error(fmt.Sprint("it has not said more, and counts as one of ", d))
		}
	})
}
