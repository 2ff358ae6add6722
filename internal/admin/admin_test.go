package admin

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGatewayFor(t *testing.T) {
	for _, c := range []struct{ gateway, admin, host, port string }{
		{"127.0.0.1:8282", "127.0.0.1:8280", "", "8282"}, // by whatever name, or through a tunnel
		{"127.0.0.2:8282", "127.0.0.1:8280", "127.0.0.2", "8282"},
		{"10.0.0.5:8282", "127.0.0.1:8280", "10.0.0.5", "8282"},
		{"0.0.0.0:8282", "127.0.0.1:8280", "", "8282"},
		{"[::]:8282", "127.0.0.1:8280", "", "8282"},
		{"[::1]:8282", "127.0.0.1:8280", "[::1]", "8282"},
		{"[2001:db8::5]:8282", "[::1]:8280", "[2001:db8::5]", "8282"},
	} {
		if host, port := gatewayFor(c.gateway, c.admin); host != c.host || port != c.port {
			t.Errorf("%s from %s: %q %q, want %q %q", c.gateway, c.admin, host, port, c.host, c.port)
		}
	}
}

// TestChatPage checks that what the page is told is a string in its script.
func TestChatPage(t *testing.T) {
	s, err := Listen(t.Context(), Config{Listen: "127.0.0.1:0", Gateway: "127.0.0.2:8282", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.listener.Close()
	answer := httptest.NewRecorder()
	s.routes().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/chat", nil))
	for _, want := range []string{`const host = "127.0.0.2" || location.hostname;`, `const port = "8282";`} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("the chat page lacks %s", want)
		}
	}
}
