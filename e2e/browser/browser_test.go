package browser

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/gatebus/gatebus/internal/testbed"
)

// startBrowser starts Chromium with a fresh profile, or skips the test. The
// context is that of the browser; windows are made from it.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	binary := findChromium()
	if binary == "" {
		const msg = "needs Chromium: apt-get install chromium"
		if os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary),
		chromedp.NoSandbox, // CI is root, which has no sandbox
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	) // the profile is a fresh one, in a temporary directory
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", binary, err)
	}
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := chromedp.Cancel(end); err != nil {
			t.Errorf("end %s: %v", binary, err)
		}
	})
	return ctx
}

func findChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// window is a browser window with cookies and storage of its own, and with an
// eye on what the page asks for and complains about.
type window struct {
	t    *testing.T
	name string
	ctx  context.Context

	mu         sync.Mutex
	requests   []string
	complaints []string
}

func openWindow(t *testing.T, browser context.Context, name string) *window {
	t.Helper()
	w := &window{t: t, name: name}
	// The window ends with the browser: to close one by one can take long. It
	// lives as long as the context of its first call.
	w.ctx, _ = chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.listen))
	if _, err := chromedp.Call(w.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatalf("window of %s: %v", name, err)
	}
	return w
}

// listen notes requests and complaints. It must not block.
func (w *window) listen(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		w.requests = append(w.requests, ev.Request.URL)
	case *network.EventWebSocketCreated:
		w.requests = append(w.requests, ev.URL)
	case *runtime.EventExceptionThrown:
		what := ev.ExceptionDetails.Text
		if e := ev.ExceptionDetails.Exception; e != nil {
			what += ": " + e.Description
		}
		w.complaints = append(w.complaints, "exception: "+what)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			w.complaints = append(w.complaints, fmt.Sprintf("console.%s", ev.Type))
		}
	case *cdplog.EventEntryAdded:
		if ev.Entry.Level == cdplog.EntryLevelError || ev.Entry.Level == cdplog.EntryLevelWarning {
			w.complaints = append(w.complaints, fmt.Sprintf("%s: %s: %s", ev.Entry.Level, ev.Entry.Source, ev.Entry.Text))
		}
	}
}

func (w *window) do(steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, testbed.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		w.t.Fatalf("window of %s: %v", w.name, err)
	}
}

// keys presses keys, when the page has put the focus on that field.
func (w *window) keys(field, keys string) {
	w.t.Helper()
	w.eventually("the focus", func() error {
		if focus := w.eval("document.activeElement.id"); focus != field {
			return fmt.Errorf("want it on %q, it is on %q", field, focus)
		}
		return nil
	})
	w.do(chromedp.KeyEvent(keys))
}

// eval is the value of a JavaScript expression.
func (w *window) eval(expression string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, testbed.Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		w.t.Fatalf("window of %s: %s: %v", w.name, expression, err)
	}
	return value
}

func (w *window) eventually(what string, ok func() error) {
	w.t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := testbed.Poll(ctx, ok); err != nil {
		w.t.Fatalf("window of %s: %s: %v", w.name, what, err)
	}
}

// sees waits until the element shows the text once, and no more often.
func (w *window) sees(id, text string) {
	w.t.Helper()
	w.eventually(id, func() error {
		if shown := w.eval(fmt.Sprintf("document.getElementById(%q).innerText", id)); strings.Count(shown, text) != 1 {
			return fmt.Errorf("want %q once, it shows %q", text, shown)
		}
		return nil
	})
}

// join gives the name to the page, by keyboard.
func (w *window) join() {
	w.t.Helper()
	w.keys("name", w.name+"\r")
	w.sees("state", "connected as "+w.name)
}

// say says something, by keyboard.
func (w *window) say(text string) {
	w.t.Helper()
	w.keys("text", text+"\r")
}

// quiet fails if the page has complained since the last call.
func (w *window) quiet() {
	w.t.Helper()
	for _, c := range w.takeComplaints() {
		w.t.Errorf("window of %s complains: %s", w.name, c)
	}
}

func (w *window) takeComplaints() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.complaints
	w.complaints = nil
	return c
}

// staysHome fails if the page has asked for anything beyond this machine.
func (w *window) staysHome() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.requests) == 0 {
		w.t.Errorf("window of %s: no request was seen; does the test look at all?", w.name)
	}
	for _, r := range w.requests {
		u, err := url.Parse(r)
		if err != nil {
			w.t.Errorf("window of %s asks for %q: %v", w.name, r, err)
			continue
		}
		if ip := net.ParseIP(u.Hostname()); u.Scheme != "data" && (ip == nil || !ip.IsLoopback()) {
			w.t.Errorf("window of %s asks for %s, which is not on this machine", w.name, r)
		}
	}
}

// screenshots takes pictures, narrow and wide, light and dark, if
// GATEBUS_TEST_SCREENSHOTS names a directory for them.
func (w *window) screenshots(name string) {
	w.t.Helper()
	dir := os.Getenv("GATEBUS_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{375, 768, 1280} {
			w.do(chromedp.EmulateViewport(width, 800), prefers("color-scheme", scheme))
			ctx, cancel := context.WithTimeout(w.ctx, testbed.Patience)
			png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			cancel()
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width)), png, 0o644)
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.do(chromedp.ResetViewport())
}

// prefers has the page find that preference of its user.
func prefers(what, value string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		_, err := cdp.Call(ctx, page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-" + what, Value: value}},
		})
		return err
	})
}
