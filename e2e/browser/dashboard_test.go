package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

const dashboardToken = "a-token-of-the-shop"

// tabTo presses Tab until the element has the focus.
func (w *window) tabTo(id string) {
	w.t.Helper()
	for range 120 {
		if w.eval("document.activeElement.id") == id {
			return
		}
		w.do(chromedp.KeyEvent("\t"))
	}
	w.t.Fatalf("window of %s: Tab does not reach %s", w.name, id)
}

// is waits until a JavaScript expression has the value.
func (w *window) is(expression, want string) {
	w.t.Helper()
	w.eventually(expression, func() error {
		if got := w.eval("String(" + expression + ")"); got != want {
			return fmt.Errorf("want %q, it is %q", want, got)
		}
		return nil
	})
}

// pages takes pictures of the whole page at three sizes, light and dark, if
// GATEBUS_TEST_SCREENSHOTS names a directory for them.
func (w *window) pages(name string) {
	w.t.Helper()
	dir := os.Getenv("GATEBUS_TEST_SCREENSHOTS")
	for _, size := range []struct{ width, height int64 }{{375, 2900}, {768, 2000}, {1440, 1500}} {
		w.do(chromedp.EmulateViewport(size.width, size.height), chromedp.Evaluate[chromedp.Void]("scrollTo(0, 0)"))
		for _, scheme := range []string{"light", "dark"} {
			w.do(prefers("color-scheme", scheme))
			w.is(`[document.documentElement.scrollWidth, innerWidth]`, fmt.Sprintf("%d,%d", size.width, size.width))
			if dir == "" {
				continue
			}
			ctx, cancel := context.WithTimeout(w.ctx, testbed.Patience)
			png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			cancel()
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, size.width)), png, 0o644)
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.do(chromedp.EmulateViewport(1440, 900), prefers("color-scheme", "light"))
}

// dashboardCluster is two of each role and a process with the dashboard.
type dashboardCluster struct {
	*testbed.Cluster
	registers, gateways, workers []*testbed.Process
	process                      *testbed.Process // with the dashboard
	api                          string           // where
}

func startDashboardCluster(t *testing.T) *dashboardCluster {
	t.Helper()
	c := &dashboardCluster{Cluster: testbed.NewCluster(t, 2, "secret=correct-horse-battery")}
	c.registers = []*testbed.Process{c.Register(0), c.Register(1)}
	for i := range 2 {
		c.gateways = append(c.gateways, c.Gateway(fmt.Sprintf("g%d", i+1)))
		c.workers = append(c.workers, c.Worker(fmt.Sprintf("w%d", i+1)))
	}
	c.api = testbed.MustFreeAddr(t, testbed.Host(249))
	c.process = testbed.Start(t, testbed.Spec{Name: "api", Args: []string{
		"api", "--set", "registers=" + c.URLs(), "--set", "secret=correct-horse-battery",
		"--set", "admin.listen=" + c.api, "--set", "api.tokens=" + dashboardToken,
	}})
	all := slices.Concat(c.registers, c.gateways, c.workers, []*testbed.Process{c.process})
	ctx, cancel := testbed.Soon()
	defer cancel()
	if err := testbed.WaitReady(ctx, all...); err != nil {
		t.Fatal(err)
	}
	return c
}

// call asks the API.
func (c *dashboardCluster) call(t *testing.T, method, path, body string, answer any) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.api+"/api/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+dashboardToken)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if answer != nil {
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
}

// hostile is what a page must not take for markup, or for other text.
const hostile = `<img src=x onerror=alert(1)>` + "\u202egnp.exe\x1b[31m"

// TestDashboard has an operator look at a cluster, and act, by keyboard alone.
func TestDashboard(t *testing.T) {
	browser := startBrowser(t)
	c := startDashboardCluster(t)
	client, _, err := websocket.DefaultDialer.Dial("ws://"+addr(t, c.gateways[0], "clients")+"/path?x=<b>", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	read := func() (kind int, data []byte, err error) {
		if err := client.SetReadDeadline(time.Now().Add(testbed.Patience)); err != nil {
			return 0, nil, err
		}
		return client.ReadMessage()
	}
	var list struct{ Clients []struct{ Client string } }
	c.call(t, "GET", "clients", "", &list)
	id := list.Clients[0].Client
	uid, _ := json.Marshal(map[string]string{"uid": hostile})
	c.call(t, "PUT", "clients/"+id+"/uid", string(uid), nil)
	c.call(t, "PUT", "clients/"+id+"/groups/garden", "", nil)
	session, _ := json.Marshal(map[string]string{"name": hostile, "basket": "3 roses"})
	c.call(t, "PUT", "clients/"+id+"/session", string(session), nil)
	load := testbed.StartLoad(t, 40, testbed.Numbered{Every: 20 * time.Millisecond},
		"ws://"+addr(t, c.gateways[0], "clients")+"/", "ws://"+addr(t, c.gateways[1], "clients")+"/")
	defer func() {
		ctx, cancel := testbed.Soon()
		defer cancel()
		if _, err := load.Finish(ctx); err != nil {
			t.Error(err)
		}
	}()

	op := openWindow(t, browser, "the operator")
	op.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate("http://"+c.api+"/"))
	op.is("location.pathname", "/dashboard/")
	op.is("document.activeElement.id", "token")
	op.pages("dashboard-door")
	op.keys("token", "not-the-token\r")
	op.sees("door-why", "That token is not one")
	op.takeComplaints() // of the status 401
	op.keys("token", dashboardToken+"\r")

	// All members are there, in the picture and in the tables, and the links have rates.
	members := `[...document.querySelectorAll('.node')].map(n => n.dataset.member + ' ' + n.querySelector('.state').textContent).sort().join(', ')`
	op.is(members, "gateway/g1 ok, gateway/g2 ok, register/r1 ok, register/r2 ok, worker/w1 ok, worker/w2 ok")
	op.sees("overall", "all members ok")
	op.is(`document.querySelectorAll('#picture path.link.up').length`, "4")
	op.is(`[...document.querySelectorAll('#picture text.rate')].filter(t => parseFloat(t.textContent) > 100).length`, "4")
	op.is(`[...document.querySelectorAll('#tables tbody th')].map(h => h.textContent).sort().join()`, "g1,g2,r1,r2,w1,w1,w1,w2,w2,w2")
	op.is(`document.getElementById('k-connections').textContent`, "41")
	op.is(`/4 of 4 links are up/.test(document.getElementById('picture').getAttribute('aria-label'))`, "true")
	op.is(`document.querySelectorAll('#throughput path.line').length`, "2")
	op.is(`document.querySelectorAll('#latency path.line').length`, "2")

	// Search by uid, choose the client.
	op.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
	op.tabTo("name")
	op.do(chromedp.Evaluate[chromedp.Void](`document.execCommand('insertText', false, `+string(mustJSON(t, hostile))+`)`), chromedp.KeyEvent("\r"))
	op.sees("found", "1 client of uid “<img src=x onerror=alert(1)>\\u{202e}gnp.exe\\x1b[31m”")
	op.do(chromedp.Evaluate[chromedp.Void](`document.querySelector('button.hit').id = 'first-hit'`))
	op.tabTo("first-hit")
	op.do(chromedp.KeyEvent("\r"))
	op.is("document.activeElement.id", "client-h")
	for _, text := range []string{"garden", "/path?x=<b>", "3 roses"} {
		op.sees("info", text)
	}
	op.is(`document.querySelectorAll('img').length`, "0")

	// Tap it.
	op.tabTo("tap-client")
	op.do(chromedp.KeyEvent("\r"))
	op.sees("tap-state", "Tapping "+id)
	op.eventually("the tap", func() error {
		if err := client.WriteMessage(websocket.TextMessage, []byte(hostile)); err != nil {
			return err
		}
		if _, _, err := read(); err != nil {
			return err
		}
		if shown := op.eval("document.getElementById('tap-lines').innerText"); strings.Count(shown, `<img src=x onerror=alert(1)>\u{202e}gnp.exe\x1b[31m`) < 2 {
			return fmt.Errorf("it shows %q", shown)
		}
		return nil
	})
	if err := client.WriteMessage(websocket.BinaryMessage, []byte{0, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(); err != nil {
		t.Fatal(err)
	}
	op.is(`[...document.querySelectorAll('#tap-lines code')].filter(c => c.textContent === '00 ff').length`, "2")

	// Push to it: asked first, and with Escape nothing is sent.
	op.tabTo("push-client")
	op.do(chromedp.KeyEvent("\r"))
	op.sees("ask-what", "A text frame goes to one client")
	op.do(chromedp.KeyEvent("\x1b"))
	op.is(`document.getElementById('ask').open`, "false")
	op.is("document.activeElement.id", "push-client")
	op.do(chromedp.KeyEvent("\r"))
	// The event that the first one was closed may come only now.
	op.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('ask').dispatchEvent(new Event('close'))`))
	op.keys("ask-text", "the shop closes at six")
	op.pages("dashboard-push")
	op.canBeHeard()
	op.tabTo("ask-yes")
	op.do(chromedp.KeyEvent("\r"))
	if _, data, err := read(); err != nil || string(data) != "the shop closes at six" {
		t.Fatalf("the client got %q, %v; the dialog says %q", data, err, op.eval("document.getElementById('ask').innerText"))
	}
	op.sees("toast", "Pushed to 1 client.")
	op.pages("dashboard")
	op.canBeHeard()
	op.quiet()

	// A worker is killed: it is shown within three seconds.
	c.workers[1].Kill()
	killed := time.Now()
	op.eventually("the dead worker", func() error {
		if s := op.eval(members); !strings.Contains(s, "worker/w2 gone") {
			return fmt.Errorf("%s after %v", s, time.Since(killed))
		}
		return nil
	})
	if took := time.Since(killed); took > 3*time.Second {
		t.Errorf("a killed worker is shown after %v", took)
	} else {
		t.Logf("a killed worker is shown after %v", took)
	}
	op.sees("overall", "1 member gone")
	op.sees("notes", "worker w2 does not answer")
	op.is(`document.getElementById('k-links').textContent`, "2 of 4")
	op.is(`document.querySelectorAll('#picture path.link.lost').length`, "2")
	op.pages("dashboard-killed")
	op.sees("notes", "worker w2 is off the registers")
	c.workers[1].Again()
	op.is(members, "gateway/g1 ok, gateway/g2 ok, register/r1 ok, register/r2 ok, worker/w1 ok, worker/w2 ok")
	op.sees("notes", "worker w2 joined")
	op.pages("dashboard-back")

	// Close the client.
	op.tabTo("close-client")
	op.do(chromedp.KeyEvent("\r"))
	op.keys("ask-code", "77")
	op.tabTo("ask-yes")
	op.do(chromedp.KeyEvent("\r"))
	op.sees("ask-error", "from 4100 to 4999")
	op.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('ask-code').focus(); document.getElementById('ask-code').select()`))
	op.keys("ask-code", "4200")
	op.tabTo("ask-reason")
	op.keys("ask-reason", "closing time")
	op.tabTo("ask-yes")
	op.do(chromedp.KeyEvent("\r"))
	if _, _, err := read(); !websocket.IsCloseError(err, 4200) || !strings.Contains(err.Error(), "closing time") {
		t.Fatalf("the client was closed with %v", err)
	}
	op.sees("toast", "Closed 1 client.")
	op.sees("tap-lines", `"reason":"closing time"`)
	op.quiet()
	op.staysIn("http://" + c.api + "/")
}

// Everything has a name for those who cannot see it, there are landmarks to go by, and no
// id is there twice.
func (w *window) canBeHeard() {
	w.t.Helper()
	wrong := w.eval(`(() => {
		const wrong = [], shown = e => e.checkVisibility();
		for (const e of document.querySelectorAll('input, select, textarea'))
			if (!(e.labels && [...e.labels].some(l => l.textContent.trim())) && shown(e)) wrong.push('no label: ' + e.id);
		for (const e of document.querySelectorAll('button, a, th, caption'))
			if (!e.textContent.trim() && shown(e)) wrong.push('no text: ' + e.outerHTML);
		for (const e of document.querySelectorAll('svg, [role=img], [role=region], [role=log]'))
			if (!e.getAttribute('aria-label') && e.getAttribute('aria-hidden') !== 'true' && shown(e)) wrong.push('no name: ' + e.id);
		for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby]'))
			for (const id of ((e.getAttribute('aria-labelledby') ?? '') + ' ' + (e.getAttribute('aria-describedby') ?? '')).trim().split(/\s+/))
				if (!document.getElementById(id)) wrong.push('nothing has the id ' + id);
		const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
		ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => wrong.push('twice: ' + id));
		for (const [what, n] of [['h1', 1], ['main', 1], ['header', 1], ['[role=search]', 1], ['html[lang]', 1]])
			if (document.querySelectorAll(what).length !== n) wrong.push(what + ' is not there ' + n + ' times');
		for (const e of document.querySelectorAll('[tabindex]'))
			if (e.tabIndex > 0) wrong.push('it changes the order of the focus: ' + e.id);
		return wrong.join('; ');
	})()`)
	if wrong != "" {
		w.t.Errorf("window of %s: %s", w.name, wrong)
	}
}

// What cannot be known is not shown as if it were: without registers, and without the
// process that the page is of. Both come back by themselves.
func TestDashboardLosesTheCluster(t *testing.T) {
	browser := startBrowser(t)
	c := startDashboardCluster(t)
	op := openWindow(t, browser, "the operator")
	op.do(chromedp.EmulateViewport(1440, 900), chromedp.Navigate("http://"+c.api+"/dashboard/"))
	op.keys("token", dashboardToken+"\r")
	op.sees("overall", "all members ok")
	op.takeComplaints() // of the status 401
	for _, r := range c.registers {
		r.Kill()
	}
	op.sees("overall", "no register")
	op.sees("banner", "No register answers")
	op.eventually("the age", func() error {
		if shown := op.eval("document.getElementById('banner').textContent"); !strings.Contains(shown, "What is shown is 3 seconds old") {
			return errors.New(shown)
		}
		return nil
	})
	op.sees("notes", "no register answers")
	op.pages("dashboard-lost")
	for _, r := range c.registers {
		r.Again()
	}
	op.sees("overall", "all members ok")
	op.is(`document.getElementById('banner').hidden`, "true")
	op.sees("notes", "a register answers again")

	c.process.Kill()
	op.sees("overall", "connection lost")
	op.sees("banner", "This process does not answer")
	op.takeComplaints() // of requests that nobody answered
	c.process.Again()
	op.sees("overall", "all members ok")
	op.is(`document.querySelectorAll('.node').length`, "6")
	op.staysIn("http://" + c.api + "/")
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// staysIn fails if the page has asked for anything of another origin.
func (w *window) staysIn(origin string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if !strings.HasPrefix(r, origin) {
			w.t.Errorf("window of %s asks for %s, which is not of %s", w.name, r, origin)
		}
	}
	if len(w.requests) < 10 {
		w.t.Errorf("window of %s: only %q were seen; does the test look at all?", w.name, w.requests)
	}
}
