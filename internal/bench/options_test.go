package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/wsframe"
)

func TestValidate(t *testing.T) {
	for _, k := range []Kind{Echo, Fanout, Connect, Idle} {
		o := DefaultOptions(k)
		if err := o.Validate(); err != nil {
			t.Errorf("the defaults of %s: %v", k, err)
		}
	}
	for _, tt := range []struct {
		kind   Kind
		change func(*Options)
		says   string
	}{
		{Echo, func(o *Options) { o.Clients = 0 }, "clients: 0"},
		{Echo, func(o *Options) { o.Rounds = -1 }, "rounds: -1"},
		{Echo, func(o *Options) { o.Window = 0 }, "window: 0"},
		{Echo, func(o *Options) { o.Window, o.Size = 1000, 4096 }, "window: 1000"},
		{Echo, func(o *Options) { o.Size = 3 }, "size: 3"},
		{Echo, func(o *Options) { o.For = 10 }, "for: 10ns"},
		{Echo, func(o *Options) { o.Warmup = -1 }, "warmup"},
		{Echo, func(o *Options) { o.Rate = -1 }, "rate: -1"},
		{Echo, func(o *Options) { o.Rate, o.Window = 10, 2 }, "no window"},
		{Echo, func(o *Options) { o.URLs = []string{"http://x/"} }, "url:"},
		{Echo, func(o *Options) { o.PIDs = []int{1} }, "pid:"},
		{Echo, func(o *Options) { o.Set = []string{"a"} }, "set:"},
		{Echo, func(o *Options) { o.URLs, o.Set = []string{"ws://x/"}, []string{"a=b"} }, "set:"},
		{Fanout, func(o *Options) { o.Scope = "some" }, "scope:"},
		{Fanout, func(o *Options) { o.InFlight = 0 }, "in-flight: 0"},
		{Fanout, func(o *Options) { o.Bus = "nats://x" }, "bus, register"},
		{Fanout, func(o *Options) { o.URLs = []string{"ws://x/"} }, "bus:"},
		{Fanout, func(o *Options) { o.URLs, o.Register, o.Scope = []string{"ws://x/"}, "nats://x", ScopeUID }, "bus:"},
		{Fanout, func(o *Options) { o.URLs, o.Bus = []string{"ws://x/"}, "x" }, "bus:"},
		{Fanout, func(o *Options) { o.Gateways, o.Holding = 2, 3 }, "holding: 3"},
		{Echo, func(o *Options) { o.Workers = 0 }, "workers: 0"},
		{Echo, func(o *Options) { o.URLs, o.Workers = []string{"ws://x/"}, 2 }, "gateways, workers:"},
		{Echo, func(o *Options) { o.Relayed = true }, "relayed:"},
		{Connect, func(o *Options) { o.Baseline, o.Relayed = true, true }, "relayed:"},
		{Idle, func(o *Options) { o.URLs, o.Rounds = []string{"ws://x/"}, 2 }, "rounds:"},
	} {
		o := DefaultOptions(tt.kind)
		tt.change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v, want that it says %q", err, tt.says)
		}
	}
}

func TestConnections(t *testing.T) {
	for relayed, want := range map[bool]int{false: 7, true: 14} {
		if got := (&Options{Clients: 7, Relayed: relayed}).connections(); got != want {
			t.Errorf("relayed %v: %d connections, want %d", relayed, got, want)
		}
	}
}

func TestCommand(t *testing.T) {
	o := DefaultOptions(Fanout)
	o.URLs, o.Bus, o.Clients, o.For, o.Baseline = []string{"ws://h/?a=b c"}, "nats://h:1", 7, 3*time.Second, true
	want := "gatebus bench fanout --url 'ws://h/?a=b c' --members 7 --bus nats://h:1 --for 3s --baseline"
	if got := o.Command(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o = DefaultOptions(Echo)
	o.Clients, o.Baseline, o.Relayed = 1, true, true
	if got, want := o.Command(), "gatebus bench echo --clients 1 --baseline --relayed"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The table is complete, and none of it contradicts itself.
func TestTable(t *testing.T) {
	names, titles := map[string]bool{}, map[string]bool{}
	for _, r := range Table(time.Second, 2) {
		if names[r.Name] || titles[r.Options.Title()] {
			t.Errorf("%s is there twice: %s", r.Name, r.Options.Title())
		}
		names[r.Name], titles[r.Options.Title()] = true, true
		if err := r.Options.Validate(); err != nil || r.Options.Baseline != (r.Options.Scope != ScopeUID) || r.Options.For != time.Second {
			t.Errorf("%s: %+v, %v", r.Name, r.Options, err)
		}
	}
	if len(names) != 16 {
		t.Errorf("%d rows", len(names))
	}
}

func TestNumbered(t *testing.T) {
	key := wsframe.Key{1, 2, 3, 4}
	a, b := newNumbered(1, 40, key), newNumbered(2, 40, key)
	for _, n := range []uint32{0, 1, 0xfffffffe, 0xffffffff} {
		want := wsframe.AppendMasked([]byte("x"), wsframe.Text, key, a.text(n))
		if got := a.append([]byte("x"), n); !bytes.Equal(got, want) {
			t.Errorf("number %d is encoded as %x, want %x", n, got, want)
		}
		for _, tt := range []struct {
			answer []byte
			want   verdict
		}{
			{bytes.Clone(a.text(n)), right},
			{bytes.Clone(a.text(n + 1)), early},
			{bytes.Clone(a.text(n - 1)), again},
			{bytes.Clone(b.text(n)), wrong},
			{bytes.Clone(a.text(n))[:39], wrong},
			{nil, wrong},
		} {
			if got, _ := a.check(tt.answer, n); got != tt.want {
				t.Errorf("number %d, answer %q: verdict %d, want %d", n, tt.answer, got, tt.want)
			}
		}
	}
}

func TestResultOfAPush(t *testing.T) {
	none := &nats.Msg{Header: nats.Header{"Status": {"503"}}}
	for _, tt := range []struct {
		m    *nats.Msg
		want int
		says string // "" means that it is right
	}{
		{&nats.Msg{Data: []byte(`{"clients": 5}`)}, 5, ""},
		{&nats.Msg{Data: []byte(`{"clients": 5}`)}, -1, ""},
		{&nats.Msg{Data: []byte(`{"clients": 4}`)}, 5, "4 clients instead of 5"},
		{&nats.Msg{Data: []byte(`{"error": "no"}`)}, 5, "refuses"},
		{&nats.Msg{Data: []byte(`?`)}, 5, "answers"},
		{none, 5, "name of the gateway"},
	} {
		err := checkResult(tt.m, tt.want)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.m.Data, err, tt.says)
		}
	}
}

func TestProgress(t *testing.T) {
	steps := []Status{
		{Title: "Echo", Side: "raw", Phase: "starting"},
		{Title: "Echo", Side: "raw", Round: 1, Rounds: 2, Phase: "measuring", Total: 2 * time.Second},
		{Title: "Echo", Side: "raw", Round: 1, Rounds: 2, Phase: "measuring", Total: 2 * time.Second, Elapsed: time.Second, Rate: 1000},
		{Title: "Echo", Side: "raw", Round: 1, Rounds: 2, Phase: "measuring", Total: 2 * time.Second, Elapsed: 2 * time.Second, Rate: 2000, P50: 1234567, P99: 34567890},
	}
	for live, want := range map[bool]int{false: 2, true: 1} {
		var b strings.Builder
		p := NewProgress(&b, live)
		for _, s := range steps {
			p.Show(s)
		}
		if n := strings.Count(b.String(), "\n"); n != want {
			t.Errorf("live %v: %d lines, want %d: %q", live, n, want, b.String())
		}
		if !strings.Contains(b.String(), "round 1/2") || !strings.Contains(b.String(), "2000/s  p50 1.235ms  p99 34.6ms") {
			t.Errorf("live %v: %q", live, b.String())
		}
		p.Done()
	}
}
