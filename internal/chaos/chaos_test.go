//go:build linux

package chaos

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) {
	if !dialed() {
		goleak.VerifyTestMain(testbed.Main(m))
	}
}

// requireAll fails what would be skipped for want of a tool or a right.
var requireAll = os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1"

// TestChaos is a short run with the faults that cost the most when a promise is
// broken. "just chaos" is the long one, with all of them.
func TestChaos(t *testing.T) {
	gatebus, err := testbed.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Gatebus, cfg.Logf = gatebus, t.Logf
	cfg.Seed, cfg.Length, cfg.Clients = 6, 8*time.Second, 80
	cfg.Shape.Workers, cfg.Shape.Clock = 3, false
	cfg.Shape.Only = []Kind{KillWorker, FreezeWorker, StopGateway, KillGateway, CutHosts, DelayClients, HalfOpen, FillDisk}
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.Write(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(&text)
	if !report.OK() {
		t.Error("promises were broken")
	}
	if report.Answered < 1000 || report.Events < int(report.Answered) || report.Gateway.Answered == 0 || len(report.Faults) < 4 {
		t.Errorf("too little has happened: %+v", report)
	}
	t.Run("all of it", func(t *testing.T) {
		switch missing := strings.Join(report.Missing, "; "); {
		case missing == "":
		case requireAll:
			t.Fatalf("without %s", missing)
		default:
			t.Skipf("without %s", missing)
		}
	})
}
