package bus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// What others can make go wrong does not fill the log, and is told of all the same.
func TestComplaintsHaveAQuota(t *testing.T) {
	c := &NATS{nc: &nats.Conn{}, warn: newComplaints()}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c.log = slog.New(slog.NewTextHandler(&log, nil))
		for range 1000 {
			c.asyncError(nil, nil, errors.New("permissions violation"))
		}
		if n := strings.Count(log.String(), "\n"); n != complaints {
			t.Errorf("%d lines at once, want %d", n, complaints)
		}
		time.Sleep(complaintEvery + time.Second)
		c.asyncError(nil, nil, errors.New("permissions violation"))
		if n := strings.Count(log.String(), "\n"); n != complaints+1 {
			t.Errorf("%d lines later, want one more than %d", n, complaints)
		}
	})
}
