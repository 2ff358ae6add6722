package embedded

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A stranger who tries without end does not fill the log.
func TestWarningsHaveAQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLogger(slog.New(slog.NewTextHandler(&out, nil)))
		for range 100 {
			l.Errorf("%s - authentication error", "1.2.3.4:5")
		}
		l.Errorf("read error: %v", "x") // another kind has its own
		if n := strings.Count(out.String(), "authentication error"); n != warnBurst {
			t.Errorf("%d of 100 were logged", n)
		}
		if !strings.Contains(out.String(), "read error") {
			t.Error("another kind of warning was left out")
		}
		time.Sleep(warnEvery)
		l.Errorf("%s - authentication error", "1.2.3.4:5")
		if want := "left_out=95"; !strings.Contains(out.String(), want) {
			t.Errorf("%s is not said:\n%s", want, &out)
		}
		for range 100 {
			l.Errorf("an error of ours")
		}
		if n := strings.Count(out.String(), "an error of ours"); n != 100 {
			t.Errorf("%d of 100 errors were logged", n)
		}
	})
}
