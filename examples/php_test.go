package examples

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

// TestPHP runs the worker in PHP behind two gatebus workers.
func TestPHP(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil {
		missing(t, "needs PHP: apt-get install php-cli")
	}
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key of 32 bytes for this test."))
	at, state := testbed.MustFreeAddr(t, testbed.Host(1)), t.TempDir()
	receiver := testbed.Start(t, testbed.Spec{
		Name: "examples/php-webhook", Path: php, Args: []string{"-S", at, "php-webhook/worker.php"},
		Env: []string{"SIGNING_KEY=" + key, "STATE_DIR=" + state},
	})
	ctx, cancel := testbed.Soon()
	defer cancel()
	if _, err := receiver.WaitLog(ctx, `Development Server \(.*\) started`); err != nil {
		t.Fatal(err)
	}

	// It does not believe just anybody.
	resp, err := http.Post("http://"+at+"/", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without a signature: %s", resp.Status)
	}

	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g := c.Gateway("g1")
	set := []string{
		"worker.handler.type=webhook", "worker.handler.url=http://" + at + "/",
		"worker.handler.signing_keys=whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "," + key, // the old one and the new
	}
	workers := map[string]*testbed.Process{"w1": c.Worker("w1", set...), "w2": c.Worker("w2", set...)}
	if err := testbed.WaitReady(ctx, g, workers["w1"], workers["w2"]); err != nil {
		t.Fatal(err)
	}

	url := "ws://" + addr(t, g, "clients")
	_, refused, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if refused == nil {
		t.Fatal(err)
	}
	if reason, err := io.ReadAll(refused.Body); err != nil || refused.StatusCode != 403 || strings.TrimSpace(string(reason)) != "say who you are: ?name=ann" {
		t.Errorf("without a name: %s %q, %v", refused.Status, reason, err)
	}

	ann := dialURL(t, url+"/?name=J%C3%BCrgen+%25")
	ann.answers(websocket.TextMessage, "grüß dich", "Jürgen %: grüß dich")
	ann.answers(websocket.BinaryMessage, "\x00\xff", "\x00\xff")
	ann.answers(websocket.TextMessage, "", "")
	ann.answers(websocket.TextMessage, "/name Ånn 🦄", "Jürgen % is Ånn 🦄")
	ann.answers(websocket.TextMessage, "hello", "Ånn 🦄: hello")
	ann.sends("/quiet")
	ann.answers(websocket.TextMessage, "/count", "Ånn 🦄 has said 6")

	// The worker that has the event is killed while PHP is at it. The other one
	// gets the event, and PHP gives the same answer; it counts once.
	ann.sends("/slow")
	if _, err := receiver.WaitLog(ctx, "is slow"); err != nil {
		t.Fatal(err)
	}
	busy := ""
	if err := testbed.Poll(ctx, func() error {
		for name, w := range workers {
			s, err := w.Stats(ctx)
			if err != nil {
				return err
			}
			if s.Worker.Working > 0 {
				busy = name
				return nil
			}
		}
		return errors.New("no worker is at it")
	}); err != nil {
		t.Fatal(err)
	}
	workers[busy].Kill()
	ann.reads("Ånn 🦄 was slow")
	ann.answers(websocket.TextMessage, "/count", "Ånn 🦄 has said 8")
	if n := strings.Count(receiver.Log(), "is slow"); n != 1 {
		t.Errorf("PHP was slow %d times", n)
	}
	stats, err := g.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Gateway.Redelivery == 0 {
		t.Error("nothing was given out again: the test does not test that")
	}

	ann.sends("/bye")
	ann.reads("bye, Ånn 🦄")
	if _, _, err := ann.conn.ReadMessage(); !websocket.IsCloseError(err, 4100) || !strings.Contains(err.Error(), "as you say") {
		t.Errorf("after /bye: %v", err)
	}

	// Of clients that are gone nothing is kept, also if their gateway was killed.
	dialURL(t, url+"/?name=bob").answers(websocket.TextMessage, "hello", "bob: hello")
	g.Kill()
	if err := testbed.Poll(ctx, func() error {
		files, err := os.ReadDir(state)
		if err == nil && len(files) > 0 {
			err = fmt.Errorf("%d files are left, such as %s", len(files), files[0].Name())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// sends sends a text.
func (c *client) sends(text string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// reads wants a text.
func (c *client) reads(want string) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(testbed.Patience)); err != nil {
		c.t.Fatal(err)
	}
	if kind, got, err := c.conn.ReadMessage(); err != nil || kind != websocket.TextMessage || string(got) != want {
		c.t.Fatalf("read %q of kind %d, %v; want %q", got, kind, err, want)
	}
}
