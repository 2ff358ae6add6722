package usage

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNow(t *testing.T) {
	before := Now()
	held := make([]byte, 64<<20)
	for i := range held { // takes some CPU time too
		held[i] = byte(i)
	}
	after := Now()
	runtime.KeepAlive(held)
	if after.Memory-before.Memory < 32<<20 {
		t.Errorf("64 MiB more are %d bytes more", after.Memory-before.Memory)
	}
	if after.CPU <= before.CPU && cpu() > 0 {
		t.Errorf("CPU time went from %v to %v s", before.CPU, after.CPU)
	}
	if after.Uptime <= before.Uptime || after.Cores < 1 || after.Goroutines < 1 {
		t.Errorf("%+v after %+v", after, before)
	}
}
