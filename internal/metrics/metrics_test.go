package metrics

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Scrapers that leave do not fill the log.
func TestScrapersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := New()
		left := make(chan struct{})
		s.add([]Family{{"gatebus_test", Gauge, nil, "Is there when the scraper is gone."}}, func(e *emitter) {
			<-left
			e.send("gatebus_test", 1)
		})
		ctx, leave := context.WithCancel(t.Context())
		leave()
		h := s.Handler(slog.New(slog.NewTextHandler(&log, nil)))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
		close(left)
		synctest.Wait()
		if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "context canceled") {
			t.Errorf("%d lines, want one that says why:\n%.500s", got, log.String())
		}
	})
}
