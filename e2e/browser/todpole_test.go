package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/internal/testbed"
)

// pond is what pond.state() says in a page.
type pond struct {
	Connection, Gateway string
	FPS                 int
	Work                float64 // milliseconds a picture
	Me                  tadpole
	Others              []tadpole
}

type tadpole struct {
	ID, Name, Says string
	X, Y           float64
	Asleep         bool
}

func (w *window) pond() pond {
	w.t.Helper()
	var p pond
	if err := json.Unmarshal([]byte(w.eval("JSON.stringify(window.pond ? pond.state() : {})")), &p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// other is another tadpole by its name; none if it is not there.
func (p pond) other(name string) (tadpole, bool) {
	for _, o := range p.Others {
		if o.Name == name {
			return o, true
		}
	}
	return tadpole{}, false
}

// meets waits until the page shows exactly these others.
func (w *window) meets(names ...string) {
	w.t.Helper()
	w.eventually("who is there", func() error {
		p := w.pond()
		for _, name := range names {
			if _, ok := p.other(name); !ok {
				return fmt.Errorf("want %v, it shows %+v", names, p.Others)
			}
		}
		if len(p.Others) != len(names) {
			return fmt.Errorf("want %v, it shows %+v", names, p.Others)
		}
		return nil
	})
}

// swims has the page's tadpole go somewhere, and waits until it is there.
func (w *window) swims(x, y float64) {
	w.t.Helper()
	w.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("pond.swimTo(%v, %v)", x, y)))
	w.eventually("the own tadpole", func() error { return near(w.pond().Me, x, y) })
}

// watches waits until the page shows the other one near a place.
func (w *window) watches(name string, x, y float64) {
	w.t.Helper()
	w.eventually(name+"'s tadpole", func() error {
		o, _ := w.pond().other(name)
		return near(o, x, y)
	})
}

// speaks says something: Enter, the text, Enter.
func (w *window) speaks(text string) {
	w.t.Helper()
	w.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("pond").focus()`), chromedp.KeyEvent("\r"))
	w.say(text)
}

// steers waits until what is done has the own tadpole swim.
func (w *window) steers(by string, steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	before := w.pond().Me
	w.do(steps...)
	w.eventually("swimming by "+by, func() error {
		if me := w.pond().Me; math.Hypot(me.X-before.X, me.Y-before.Y) < 40 {
			return fmt.Errorf("it is still at %v, %v", me.X, me.Y)
		}
		return nil
	})
}

// touch puts a finger somewhere, or, without a place, lifts it.
func touch(kind input.DispatchTouchEventType, place ...float64) chromedp.Action[chromedp.Void] {
	p := input.DispatchTouchEventParams{Type: kind, TouchPoints: []*input.TouchPoint{}}
	if len(place) == 2 {
		p.TouchPoints = append(p.TouchPoints, &input.TouchPoint{X: place[0], Y: place[1]})
	}
	return chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		_, err := cdp.Call(ctx, page, input.DispatchTouchEvent, p)
		return err
	})
}

func arrowRight(kind input.DispatchKeyEventType) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		_, err := cdp.Call(ctx, page, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "ArrowRight", Code: "ArrowRight", WindowsVirtualKeyCode: 39})
		return err
	})
}

func near(t tadpole, x, y float64) error {
	if math.Hypot(t.X-x, t.Y-y) > 20 {
		return fmt.Errorf("want it at %v, %v; it is %+v", x, y, t)
	}
	return nil
}

// enter opens the pond, as somebody of that name.
func (w *window) enter(page string) {
	w.t.Helper()
	w.do(chromedp.Navigate(page + "&name=" + url.QueryEscape(w.name)))
	w.eventually("the connection", func() error {
		if p := w.pond(); p.Connection != "open" || p.Me.ID == "" {
			return fmt.Errorf("it is %+v", p)
		}
		return nil
	})
}

// TestTodpole has three visitors in one pond, of two gateways and two workers.
func TestTodpole(t *testing.T) {
	browser := startBrowser(t)
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g1, g2 := c.Gateway("g1"), c.Gateway("g2")
	waitReady(t, g1)
	waitReady(t, g2)
	w3, page := startExample(t, c, "todpole", 3, g1, g2)
	w4, page4 := startExample(t, c, "todpole", 4, g1, g2)

	ann, bob, cleo := openWindow(t, browser, "Ann"), openWindow(t, browser, "Bob <b>"), openWindow(t, browser, "Cleo")
	ann.enter(page + gatewayQuery(t, g1))
	ann.sees("count", "you are alone")
	ann.screenshots("todpole-alone")
	bob.enter(page4 + gatewayQuery(t, g2))
	cleo.enter(page4 + "?")
	ann.meets("Bob <b>", "Cleo")
	bob.meets("Ann", "Cleo")
	cleo.meets("Ann", "Bob <b>")
	cleo.sees("count", "3 tadpoles")

	// Each sees the others where they are, and what they say above them.
	ann.swims(-120, 40)
	bob.swims(130, -70)
	cleo.swims(20, 150)
	for _, w := range []*window{bob, cleo} {
		w.watches("Ann", -120, 40)
	}
	ann.watches("Bob <b>", 130, -70)
	ann.watches("Cleo", 20, 150)
	bob.speaks("Grüß euch <i>alle</i> 👋")
	cleo.speaks("What a fine pond, with room for everybody who comes along!")
	for _, w := range []*window{ann, cleo} {
		w.eventually("Bob's bubble", func() error {
			if o, _ := w.pond().other("Bob <b>"); o.Says != "Grüß euch <i>alle</i> 👋" {
				return fmt.Errorf("it is %+v", o)
			}
			return nil
		})
		w.sees("log", "Bob <b>: Grüß euch <i>alle</i> 👋")
	}
	ann.speaks("Hello there, you two. Is it always as quiet as this here, or do more come in the evening?")
	ann.screenshots("todpole")
	for _, w := range []*window{ann, bob, cleo} {
		w.quiet()
	}
	t.Logf("pictures a second: %d, %d, %d", ann.pond().FPS, bob.pond().FPS, cleo.pond().FPS)

	// What a worker says that is late, or twice: it is as it was.
	bob.do(chromedp.Evaluate[chromedp.Void](`
		const x = {id: "x", name: "Xaver", hue: 1, asleep: true}, twice = {...x, type: "say", n: 1, text: "Said twice"};
		for (const [at, x1] of [[1000, 5], [900, 300], [1001, 5]]) pond.hear({...x, type: "move", x: x1, y: 5, a: 0, at});
		pond.hear(twice); pond.hear(twice); pond.hear({type: "toString"}); pond.hear({})`))
	bob.sees("log", "Said twice")
	bob.swims(-150, -70)
	if o, _ := bob.pond().other("Xaver"); near(o, 5, 5) != nil {
		t.Errorf("after late news: %v", near(o, 5, 5))
	}
	bob.do(chromedp.Evaluate[chromedp.Void](`pond.hear({id: "x", type: "leave"})`))

	// A worker is killed in the middle, and nobody notices.
	w4.Kill()
	bob.swims(-60, -160)
	ann.watches("Bob <b>", -60, -160)
	ann.speaks("Still here?")
	bob.sees("log", "Ann: Still here?")
	for _, w := range []*window{ann, bob, cleo} {
		if p := w.pond(); p.Connection != "open" {
			t.Errorf("window of %s noticed: %+v", w.name, p)
		}
		w.quiet()
	}

	// A new name is one for all.
	cleo.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("name").focus(); document.getElementById("name").select()`))
	cleo.keys("name", "Cleopatra\r")
	ann.meets("Bob <b>", "Cleopatra")
	cleo.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("name").focus(); document.getElementById("name").select()`))
	cleo.keys("name", "Cleo\r")
	ann.meets("Bob <b>", "Cleo")

	// A pointer, a finger and the keys steer.
	ann.steers("a pointer", chromedp.MouseEvent(chromedp.MouseMoved, 60, 60))
	bob.steers("a finger", touch(input.DispatchTouchEventTypeTouchStart, 600, 120), touch(input.DispatchTouchEventTypeTouchEnd))
	cleo.steers("a key", chromedp.Evaluate[chromedp.Void](`document.getElementById("pond").focus()`), arrowRight(input.DispatchKeyEventTypeRawKeyDown))
	cleo.do(arrowRight(input.DispatchKeyEventTypeKeyUp))

	// The gateway of one is stopped: its page finds the other, and its friends.
	used, its := g1, cleo.pond()
	if !strings.HasPrefix(its.Me.ID, "g1-") {
		used = g2
	}
	stop(t, used)
	cleo.eventually("another gateway", func() error {
		if p := cleo.pond(); p.Connection != "open" || p.Gateway == its.Gateway || p.Me.ID == its.Me.ID {
			return fmt.Errorf("it is %+v", p)
		}
		return nil
	})
	cleo.takeComplaints() // one for each try where nobody listens any more
	waitReady(t, used.Again())
	ann.meets("Bob <b>", "Cleo")
	bob.meets("Ann", "Cleo")
	cleo.meets("Ann", "Bob <b>")
	for _, w := range []*window{ann, bob, cleo} {
		w.takeComplaints()
	}

	// Who closes the page is gone.
	goodbyes := func() int { return strings.Count(ann.eval(`document.getElementById("log").innerText`), "Cleo is gone") }
	before := goodbyes()
	cleo.do(chromedp.Navigate("about:blank"))
	ann.eventually("Cleo's goodbye", func() error {
		if goodbyes() == before {
			return errors.New("there is none")
		}
		return nil
	})
	if o, ok := ann.pond().other("Cleo"); ok {
		t.Errorf("Cleo is gone, and still there: %+v", o)
	}
	ann.meets("Bob <b>")
	bob.meets("Ann")

	// Nonsense is answered, and harms nobody.
	ann.do(chromedp.Evaluate[chromedp.Void](`pond.send({type: "move", x: 1e9, y: 0, a: 0, at: 1})`))
	ann.sees("complaint", "is not in the pond")
	bob.meets("Ann")

	bob.staysHome()
	ann.staysHome()
	stop(t, w3)
}

// TestTodpoleCalm looks at the water: it moves, but not for those who have asked for
// less of that.
func TestTodpoleCalm(t *testing.T) {
	browser := startBrowser(t)
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g := waitReady(t, c.Gateway("g1"))
	w, page := startExample(t, c, "todpole", 3, g)
	ann := openWindow(t, browser, "Ann")
	ann.enter(page + "?")
	moves := func() bool {
		t.Helper()
		ann.do(chromedp.Evaluate[chromedp.Void](`
			globalThis.looks = [];
			(function look() {
				const corner = document.getElementById("pond").getContext("2d").getImageData(0, 60, 120, 120).data;
				looks.push(corner.reduce((sum, x, i) => (sum * 31 + x * (i + 1)) % 1000003, 7));
				if (looks.length < 30) requestAnimationFrame(look);
			})()`))
		ann.eventually("thirty pictures", func() error {
			if n := ann.eval("String(looks.length)"); n != "30" {
				return fmt.Errorf("%s so far", n)
			}
			return nil
		})
		return ann.eval("String(new Set(looks).size)") != "1"
	}
	ann.eventually("water that moves", func() error {
		if !moves() {
			return errors.New("it stands still")
		}
		return nil
	})
	ann.do(prefers("reduced-motion", "reduce"))
	ann.eventually("water that stands", func() error {
		if moves() {
			return errors.New("it moves")
		}
		return nil
	})
	stop(t, w)
}

// TestTodpoleCrowd has fifty tadpoles in one pond, each telling twenty times a
// second where it is.
func TestTodpoleCrowd(t *testing.T) {
	browser := startBrowser(t)
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g := waitReady(t, c.Gateway("g1"))
	w, page := startExample(t, c, "todpole", 3, g)
	const others = 49
	swarm(t, g, others)
	ann := openWindow(t, browser, "Ann")
	ann.enter(page + "?")
	ann.sees("count", fmt.Sprintf("%d tadpoles", others+1))
	ann.eventually("that all swim", func() error {
		before := ann.pond()
		moved := 0
		for i, o := range ann.pond().Others {
			if o.ID == before.Others[i].ID && (o.X != before.Others[i].X || o.Y != before.Others[i].Y) {
				moved++
			}
		}
		if moved < others*9/10 {
			return fmt.Errorf("%d of %d have moved", moved, others)
		}
		return nil
	})
	ann.screenshots("todpole-crowd")
	// A picture has 16.7 ms. What else the machine of the test has to do is not the
	// page's, so it is the least of the last pictures that counts.
	ann.eventually("sixty pictures a second", func() error {
		if p := ann.pond(); p.Work > 10 {
			return fmt.Errorf("a picture takes %.1f ms, which leaves no room", p.Work)
		}
		return nil
	})
	p := ann.pond()
	t.Logf("%d pictures a second, each %.1f ms of work", p.FPS, p.Work)
	ann.quiet()
	stop(t, w)
}

// swarm connects tadpoles that swim in circles until the test ends.
func swarm(t *testing.T, g *testbed.Process, n int) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	gateway := addr(t, g, "clients")
	end := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(end); wg.Wait() })
	for i := range n {
		conn, _, err := websocket.DefaultDialer.DialContext(ctx, fmt.Sprintf("ws://%s/pond?name=T%d&hue=%d", gateway, i+1, i*360/n), nil)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { // reads what the others do, until the connection is closed
			for {
				if _, _, err := conn.NextReader(); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			defer conn.Close()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			r, x, y := 40+float64(i%5)*14, 330*math.Cos(float64(i)*2.4)*math.Sqrt(float64(i)/float64(n)), 330*math.Sin(float64(i)*2.4)*math.Sqrt(float64(i)/float64(n))
			start := time.Now()
			for {
				ms := time.Since(start).Milliseconds()
				a := float64(ms)/1000*120/r + float64(i)
				frame := fmt.Sprintf(`{"type":"move","x":%.1f,"y":%.1f,"a":%.3f,"at":%d}`, x+r*math.Cos(a), y+r*math.Sin(a), math.Remainder(a+math.Pi/2, 2*math.Pi), ms)
				if conn.WriteMessage(websocket.TextMessage, []byte(frame)) != nil {
					return
				}
				select {
				case <-end:
					return
				case <-tick.C:
				}
			}
		})
	}
}
