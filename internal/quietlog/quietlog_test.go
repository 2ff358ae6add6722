package quietlog

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is one that a server may write to at any time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// A handler that panics is told of where everybody looks; a client that does not speak
// TLS is not.
func TestPanicsAreSeen(t *testing.T) {
	var out buffer
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") }))
	server.Config.ErrorLog = New(slog.New(slog.NewTextHandler(&out, nil)))
	server.StartTLS()
	client := server.Client()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("it is answered: %s", resp.Status)
	}
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	_, _ = io.ReadAll(c) // until it is refused
	c.Close()
	client.CloseIdleConnections()
	server.Close()
	out.mu.Lock()
	defer out.mu.Unlock()
	text := out.b.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "oh no") {
		t.Errorf("the log has\n%s", text)
	}
}
