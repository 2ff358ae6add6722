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
	for _, c := range []struct {
		name          string
		out, inFlight int
		took          time.Duration
		run           int
	}{
		{"nothing to do", 0, 0, 0, runLength},
		{"little to do", runLength - 1, 1000, 0, runLength},
		{"as many again", 20, 1000, 0, 20},
		{"not very many", maxRun, 1000, 0, maxRun},
		{"not more", 10 * maxRun, 1000, 0, maxRun},
		{"quick, with nothing to do", 0, 0, time.Nanosecond, runLength},
		{"quick, with some to do", 0, 10, time.Nanosecond, 10 * quickShare},
		{"quick, with much to do", 0, 1000, time.Nanosecond, int(quickRun / (quickEvent + time.Nanosecond))},
		{"quick, with more to do", 500, 1000, time.Nanosecond, int(quickRun / (quickEvent + time.Nanosecond))},
		{"not so quick", 0, 1000, 8 * time.Microsecond, 50},
		{"slow", 0, 1000, time.Millisecond, runLength},
		{"slow, with some to do", 20, 1000, time.Millisecond, 20},
		{"very slow", 0, 1000, time.Hour, runLength},
	} {
		var l link
		l.out.Store(int64(c.out))
		l.took.Store(int64(c.took))
		if got := l.run(c.inFlight); got != c.run {
			t.Errorf("%s: %d in a row, want %d", c.name, got, c.run)
		}
	}
}

// Who is picked gets a run; then it is the turn of the one with the least to do, of several
// not of the one that had its turn.
func TestTurns(t *testing.T) {
	turns := func(tm *team, n int) string {
		var s []string
		for range n {
			s = append(s, string(tm.pick(func() int { return 0 }).at))
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
