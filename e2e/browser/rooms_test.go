package browser

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gatebus/gatebus/internal/testbed"
)

// visit comes into a room of examples/chat, by keyboard.
func (w *window) visit(page, room string) {
	w.t.Helper()
	w.do(chromedp.Navigate(page + "#" + url.PathEscape(room)))
	w.keys("nickname", w.name+"\r")
	w.sees("state", "connected as "+w.name)
	w.sees("room", room)
}

// company waits until the page shows exactly these people in this room.
func (w *window) company(room string, people ...string) {
	w.t.Helper()
	slices.Sort(people)
	w.eventually("who is there", func() error {
		var s struct {
			Room   string
			People []string
		}
		if err := json.Unmarshal([]byte(w.eval("JSON.stringify(chat.state())")), &s); err != nil {
			return err
		}
		if s.Room != room || !slices.Equal(s.People, people) {
			return fmt.Errorf("want %v in %q, it shows %+v", people, room, s)
		}
		shown := w.eval("[...document.querySelectorAll('#people li')].map(li => li.textContent.replace(' (you)', '')).sort().join(', ')")
		if want := strings.Join(people, ", "); shown != want {
			return fmt.Errorf("the list shows %q, want %q", shown, want)
		}
		return nil
	})
}

// lacks fails if the element shows the text.
func (w *window) lacks(id, text string) {
	w.t.Helper()
	if shown := w.eval(fmt.Sprintf("document.getElementById(%q).innerText", id)); strings.Contains(shown, text) {
		w.t.Errorf("window of %s: %s shows %q: %q", w.name, id, text, shown)
	}
}

// TestChatExample has three people in two rooms, of two gateways and two workers.
func TestChatExample(t *testing.T) {
	browser := startBrowser(t)
	c := testbed.NewCluster(t, 1)
	c.Register(0)
	g1, g2 := c.Gateway("g1"), c.Gateway("g2")
	waitReady(t, g1)
	waitReady(t, g2)
	w3, page := startExample(t, c, "chat", 3, g1, g2)
	w4, _ := startExample(t, c, "chat", 4, g1, g2)

	ann, bob, cleo := openWindow(t, browser, "Ann"), openWindow(t, browser, "Bob <b>"), openWindow(t, browser, "Cleo")
	ann.do(chromedp.Navigate(page))
	ann.screenshots("rooms-door")
	ann.visit(page+gatewayQuery(t, g1), "garden")
	bob.visit(page+gatewayQuery(t, g2), "garden")
	ann.sees("log", "Bob <b> joined")
	cleo.visit(page, "cellar & wine")
	ann.company("garden", "Ann", "Bob <b>")
	bob.company("garden", "Ann", "Bob <b>")
	cleo.company("cellar & wine", "Cleo")

	// Who is in the room hears it once, and nothing of it is markup.
	ann.say("Hello, <b>Bob</b>! Grüß dich 👋")
	bob.say("Hi Ann. The roses are out, the ones beside the wall that we thought were lost in the frost, and the pear tree too.")
	cleo.say("Nobody here?")
	for _, w := range []*window{ann, bob} {
		w.sees("log", "Hello, <b>Bob</b>! Grüß dich 👋")
		w.sees("log", "The roses are out")
	}
	cleo.sees("log", "Nobody here?")
	for _, w := range []*window{ann, bob} {
		w.lacks("log", "Nobody here?")
	}
	cleo.lacks("log", "roses")

	// Cleo changes the room; the lists of both rooms follow.
	cleo.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("new-room").focus()`))
	cleo.keys("new-room", "Garden\r")
	for _, w := range []*window{ann, bob, cleo} {
		w.company("garden", "Ann", "Bob <b>", "Cleo")
	}
	ann.sees("log", "Cleo joined")
	cleo.say("There you are!")
	ann.sees("log", "There you are!")
	ann.say("Welcome to the garden")
	ann.say("Mind the cat.")
	cleo.sees("log", "Mind the cat.")
	ann.screenshots("rooms")
	ann.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("chat").classList.add("open")`))
	ann.screenshots("rooms-open")
	ann.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("chat").classList.remove("open"); document.getElementById("text").focus()`))

	// A worker is killed in the middle, and nobody notices.
	w4.Kill()
	for i := range 5 {
		text := fmt.Sprintf("Number %d of some.", i)
		bob.say(text)
		ann.sees("log", text)
		cleo.sees("log", text)
	}

	// What a worker says that is of another room, twice, late or unknown.
	ann.do(chromedp.Evaluate[chromedp.Void](`
		const twice = {type: "say", id: "x", name: "Xaver", n: 1, at: Date.now(), room: "garden", text: "Said twice"};
		chat.hear(twice); chat.hear(twice); chat.hear({...twice, n: 2, room: "cellar", text: "Said elsewhere"});
		chat.hear({type: "leave", id: "x", name: "Xaver", room: "garden"}); chat.hear({type: "toString"}); chat.hear({})`))
	ann.sees("log", "Said twice")
	ann.lacks("log", "Said elsewhere")
	ann.lacks("log", "Xaver left")

	// A new name, a bad message, and one who leaves.
	bob.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("name").focus(); document.getElementById("name").select()`))
	bob.keys("name", "Robert\r")
	ann.sees("log", "Bob <b> is Robert now")
	ann.company("garden", "Ann", "Robert", "Cleo")
	ann.do(chromedp.Evaluate[chromedp.Void](`chat.send({type: "say", text: " "})`))
	ann.sees("complaint", "the text is empty")
	cleo.do(chromedp.Navigate("about:blank"))
	ann.sees("log", "Cleo left")
	ann.company("garden", "Ann", "Robert")

	// The way back is short, and begins with what was heard before.
	bob.do(chromedp.Reload())
	ann.sees("log", "Robert left")
	bob.keys("nickname", "\r")
	bob.sees("log", "Mind the cat.")
	bob.company("garden", "Ann", "Robert")
	for _, w := range []*window{ann, bob, cleo} {
		w.quiet()
	}

	// The gateway of one is stopped: its page finds the other.
	ann.do(chromedp.Navigate(page + "#garden"))
	ann.keys("nickname", "\r")
	ann.company("garden", "Ann", "Robert")
	used, other := g1, g2
	if !strings.HasPrefix(ann.eval("chat.state().id"), "g1-") {
		used, other = g2, g1
	}
	bob.do(chromedp.Navigate("about:blank"))
	bob.do(chromedp.Navigate(page + gatewayQuery(t, other) + "#garden"))
	bob.keys("nickname", "\r")
	ann.company("garden", "Ann", "Robert")
	stop(t, used)
	bob.company("garden", "Ann", "Robert")
	ann.company("garden", "Ann", "Robert")
	bob.say("Everything all right?")
	ann.sees("log", "Everything all right?")
	ann.staysHome()
	bob.staysHome()
	stop(t, w3)
}
