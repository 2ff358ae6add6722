package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestChat has two people chat, each in a window of their own.
func TestChat(t *testing.T) {
	browser := startBrowser(t)
	dev := startDev(t)
	page := chatPage(t, dev)
	ann, bob := openWindow(t, browser, "Ann"), openWindow(t, browser, "Bob")

	ann.do(chromedp.Navigate(page))
	ann.screenshots("before")
	ann.join()
	bob.do(chromedp.Navigate(page))
	bob.join()
	ann.sees("log", "Bob joined")

	// Each sees what each says, once, and nothing of it as markup.
	ann.say("Hello, <b>Bob</b>!")
	bob.say("Hi Ann, grüß dich 👋")
	for _, w := range []*window{ann, bob} {
		w.sees("log", "Hello, <b>Bob</b>!")
		w.sees("log", "Hi Ann, grüß dich 👋")
		w.quiet()
	}
	bob.say("A longer text, to see how it breaks: " + strings.Repeat("and on it goes ", 12) + strings.Repeat("x", 120))
	ann.sees("log", "how it breaks")
	ann.screenshots("chat")

	// A reload is a leave, and the way back is short: the name is still there.
	bob.do(chromedp.Reload())
	ann.sees("log", "Bob left")
	bob.sees("state", "not connected")
	bob.keys("name", "\r")
	bob.sees("state", "connected as Bob")
	bob.say("Back again")
	ann.sees("log", "Back again")
	ann.quiet()
	bob.quiet()

	// The gateway is gone for a while: the pages notice, and come back to it.
	stop(t, dev)
	for _, w := range []*window{ann, bob} {
		w.sees("state", "trying again")
	}
	ann.screenshots("lost")
	dev = waitReady(t, dev.Again())
	for _, w := range []*window{ann, bob} {
		w.sees("state", "connected as "+w.name)
		for _, c := range w.takeComplaints() {
			if !strings.Contains(c, "ERR_CONNECTION_REFUSED") { // while nobody listened
				t.Errorf("window of %s complains: %s", w.name, c)
			}
		}
	}
	ann.say("There you are")
	bob.sees("log", "There you are")
	bob.say("Here I am")
	ann.sees("log", "Here I am")

	// Other workers, and pushes by hand, send what they like.
	ann.do(chromedp.Evaluate[chromedp.Void](`receive("no JSON"); receive("null"); receive("{}"); receive(new Blob(["four"]))`))
	ann.sees("log", "no JSON")
	ann.sees("log", "a binary frame of 4 bytes")

	for _, w := range []*window{ann, bob} {
		w.quiet()
		w.staysHome()
	}
	stop(t, dev)
}
