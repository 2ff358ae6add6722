package browser

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatebus/gatebus/internal/testbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testbed.Main(m)) }

// startDev starts "gatebus dev" on addresses of its own, which it keeps when it
// is started again.
func startDev(t *testing.T) *testbed.Process {
	t.Helper()
	host := testbed.Host(1)
	args := []string{"dev", "--set", "gateway.drain=100ms"}
	for _, key := range []string{"admin.listen", "gateway.listen", "gateway.bus.listen", "register.listen", "register.cluster.listen"} {
		args = append(args, "--set", key+"="+testbed.MustFreeAddr(t, host))
	}
	return waitReady(t, testbed.Start(t, testbed.Spec{Args: args}))
}

func waitReady(t *testing.T, p *testbed.Process) *testbed.Process {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// chatPage is the address of the chat page.
func chatPage(t *testing.T, p *testbed.Process) string {
	t.Helper()
	return "http://" + addr(t, p, "admin") + "/chat"
}

// stop stops the process as Ctrl-C does, and wants it to end well.
func stop(t *testing.T, p *testbed.Process) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(ctx); err != nil || exit != (testbed.Exit{}) {
		t.Fatalf("%s on %v: %v, %v", p.Name, syscall.SIGINT, exit, err)
	}
}
