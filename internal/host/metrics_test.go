package host

import (
	"bufio"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/metrics"
)

// scrape is what a host shows to Prometheus: the text, and its values by name and
// labels, as in the text.
func scrape(t *testing.T, at Addresses) (text string, values map[string]float64) {
	t.Helper()
	status, text := get(t, "http://"+at.Admin+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	values = map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		values[line[:i]] = v
	}
	return text, values
}

// A process that has every role, and the handler that has figures, shows every family, in the terms of Prometheus.
func TestMetricsOfAllRoles(t *testing.T) {
	at, _, _ := run(t, load(t, "worker.handler.type=webhook", "worker.handler.url=http://127.0.0.1:1/",
		"tracing.endpoint=http://127.0.0.1:1", "tracing.sample=0"))
	ready(t, at)
	text, _ := scrape(t, at)
	types := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 4 && f[1] == "TYPE" {
			types[f[2]] = f[3]
		}
	}
	for _, f := range metrics.Families() {
		if types[f.Name] != string(f.Type) {
			t.Errorf("%s is %q, want %q", f.Name, types[f.Name], f.Type)
		}
		delete(types, f.Name)
	}
	for name := range types {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "promhttp_") {
			t.Errorf("%s is not among the families", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") { // not ours
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, want := range []string{`(?m)^go_sched_latencies_seconds_count `, `(?m)^process_cpu_seconds_total `} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("there is no %s", want)
		}
	}
}

// What happens is shown where an operator looks for it.
func TestMetricsTell(t *testing.T) {
	cfg := load(t, "worker.handler.type=echo", "worker.name=w1", "gateway.name=g7")
	at, _, _ := run(t, cfg)
	ready(t, at)
	_, before := scrape(t, at)
	client := dial(t, "ws://"+at.Clients)
	const frames = 64
	for i := range frames {
		if err := client.WriteMessage(websocket.TextMessage, []byte("12345")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.ReadMessage(); err != nil {
			t.Fatal(i, err)
		}
	}
	nc, err := nats.Connect("nats://" + at.Register)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Request("gw.all.push.all", []byte("123"), patience); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"counts", "clients/g7-1-1", "clients/g7-1-2"} {
		get(t, "http://"+at.Admin+"/api/v1/"+call)
	}
	_, after := scrape(t, at)
	for name, want := range map[string]float64{
		`gatebus_gateway_connections_accepted_total`:                 1,
		`gatebus_gateway_received_frames_total`:                      frames,
		`gatebus_gateway_received_bytes_total`:                       5 * frames,
		`gatebus_gateway_sent_frames_total`:                          frames + 1,
		`gatebus_gateway_sent_bytes_total`:                           5*frames + 3,
		`gatebus_gateway_events_total`:                               frames + 1,
		`gatebus_gateway_pushes_total{scope="all"}`:                  1,
		`gatebus_gateway_ack_latency_seconds_bucket{le="+Inf"}`:      frames / 16,
		`gatebus_gateway_ack_latency_seconds_count`:                  frames / 16,
		`gatebus_worker_handler_duration_seconds_count`:              frames / 16,
		`gatebus_worker_events_handled_total`:                        frames + 1,
		`gatebus_nats_connections_accepted_total{server="register"}`: 1,
		`gatebus_gateway_events_dropped_total{reason="poison"}`:      0,
		`gatebus_gateway_tap_messages_skipped_total`:                 0,

		`gatebus_api_requests_total{code="200",method="GET",route="/api/v1/counts"}`:                1,
		`gatebus_api_requests_total{code="404",method="GET",route="/api/v1/clients/{client}"}`:      2,
		`gatebus_api_request_duration_seconds_count{method="GET",route="/api/v1/clients/{client}"}`: 2,
		`gatebus_gateway_connections_closed_total{code="4000"}`:                                     0,
		`gatebus_gateway_connections_refused_total{reason="no_worker"}`:                             0,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s went up by %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]float64{
		`gatebus_gateway_connections`:                                           1,
		`gatebus_api_requests_in_flight`:                                        0,
		`gatebus_gateway_workers{group="default"}`:                              1,
		`gatebus_worker_link_up{gateway="g7"}`:                                  1,
		`gatebus_register_members{role="worker"}`:                               1,
		`gatebus_register_member_changes_total{change="joined",role="gateway"}`: 1,
		`gatebus_member_joined{role="gateway"}`:                                 1,
		`gatebus_nats_up{server="bus"}`:                                         1,
	} {
		if got, ok := after[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name := range after {
		for _, counter := range []string{"_total", "_count", "_bucket"} {
			if strings.HasPrefix(name, "gatebus_") && strings.Contains(name, counter) && after[name] < before[name] {
				t.Errorf("%s went down from %v to %v", name, before[name], after[name])
			}
		}
	}
	if !slices.ContainsFunc(slices.Collect(keysOf(after)), func(s string) bool {
		return strings.HasPrefix(s, `gatebus_member_info{`) && strings.Contains(s, `name="w1"`) && strings.Contains(s, `role="worker"`)
	}) {
		t.Error("the worker is not shown by its name")
	}
}

func keysOf(m map[string]float64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// waitReadyz waits until /readyz says what is wanted.
func waitReadyz(t *testing.T, at Addresses, status int, text string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		got, body := get(t, "http://"+at.Admin+"/readyz")
		if got == status && strings.Contains(body, text) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("want %d and %q, have %d %s", status, text, got, body)
		}
	}
}

// A gateway is ready when it is joined and there is a worker, of whatever kind, unless
// it is told to be without.
func TestGatewayIsReadyWithWorkers(t *testing.T) {
	for _, without := range []string{"", "workers"} {
		t.Run("without="+without, func(t *testing.T) {
			cfg := load(t, "gateway.group=chat", "admin.ready_without="+without)
			cfg.Only(configs.RoleRegister, configs.RoleGateway)
			at, _, _ := run(t, cfg)
			if without == "workers" {
				ready(t, at)
				return
			}
			waitReadyz(t, at, http.StatusServiceUnavailable, `"gateway": "workers: no worker is there of the group chat"`)
			nc, err := nats.Connect("nats://" + at.Bus)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.QueueSubscribe("gw.*.in.chat.*", "chat", func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
				t.Fatal(err)
			}
			waitReadyz(t, at, http.StatusOK, `"gateway": "ready"`)
			nc.Close()
			waitReadyz(t, at, http.StatusServiceUnavailable, "no worker is there")
		})
	}
}

func TestReadyWithoutIsChecked(t *testing.T) {
	_, err := configs.Load(configs.Source{Set: []string{"admin.ready_without=workers,nonsense"}})
	if err == nil || !strings.Contains(fmt.Sprint(err), "nonsense") {
		t.Errorf("%v", err)
	}
}
