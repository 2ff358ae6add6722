package webhook

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/worker"
)

// docs/webhook.md names every header that there is, and none that there is not.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	for _, name := range known {
		if !strings.Contains(doc, "| `"+name+": ") {
			t.Errorf("the table of response headers has no %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`Gb-[A-Za-z-]*[a-z]`).FindAllString(doc, -1) {
		if !slices.Contains(known, name) {
			t.Errorf("there is no header %s", name)
		}
	}
	cfg := testConfig()
	cfg.Group, cfg.SigningKeys = "default", []Secret{testKey}
	inBubble(t, cfg, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, f *fixture) {
		ev := event(worker.Text, "hello")
		ev.UID, ev.Session = "ann", []byte("1")
		if err := f.h.Handle(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		for name := range f.requests()[0].header {
			name = strings.ToLower(name)
			if (strings.HasPrefix(name, "ce-") || strings.HasPrefix(name, "webhook-")) && !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("the table of request headers has no %s", name)
			}
		}
	})
	for _, kind := range []worker.Kind{worker.Open, worker.Text, worker.Binary, worker.Close} {
		if !strings.Contains(doc, "| `"+typePrefix+kind.String()+"` |") {
			t.Errorf("the table of events has no %s", kind)
		}
	}
	if !strings.Contains(doc, "| `"+typeDown+"` |") {
		t.Error("the table of events has no gateway down")
	}
}
