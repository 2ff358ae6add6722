package dashboard

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
)

const (
	// tapQueue is how many messages of a tap wait to be sent.
	tapQueue = 256
	// tapTime is how long a tap lasts at most.
	tapTime = 10 * time.Minute
	// tapPayload is how many bytes of a payload are sent at most.
	tapPayload = 4096
	// sign is how often a stream with nothing to say says that it is there.
	sign = 10 * time.Second
)

// events is a stream of server-sent events.
type events struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// begin begins a stream. The limits of the server are for requests that end.
func begin(w http.ResponseWriter) *events {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // a recorder has none
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would wait for more
	w.WriteHeader(http.StatusOK)
	return &events{w, rc}
}

// send is false if the reader is gone, or too slow.
func (e *events) send(event string, v any) bool {
	data, err := json.Marshal(v)
	if err != nil {
		return false
	}
	b := append([]byte("event: "+event+"\ndata: "), data...)
	return e.write(append(b, '\n', '\n'))
}

func (e *events) write(b []byte) bool {
	_ = e.rc.SetWriteDeadline(time.Now().Add(writeTime)) // a recorder has none
	if _, err := e.w.Write(b); err != nil {
		return false
	}
	return e.rc.Flush() == nil
}

// enter counts a stream in, if there is room for it and something to show; ended is
// closed when there no longer is.
func (d *Dashboard) enter(w http.ResponseWriter, count *int, most int, what string) (conn bus.Conn, ended <-chan struct{}, leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.conn == nil:
		problem(w, http.StatusServiceUnavailable, "this process is starting, or stopping")
		return nil, nil, nil, false
	case *count >= most:
		problem(w, http.StatusTooManyRequests, what+": there are as many as there may be; close one")
		return nil, nil, nil, false
	}
	*count++
	return d.conn, d.ended, func() {
		d.mu.Lock()
		*count--
		d.mu.Unlock()
	}, true
}

// live streams the state: "state", with what is new since the one before.
func (d *Dashboard) live(w http.ResponseWriter, r *http.Request) {
	_, ended, leave, ok := d.enter(w, &d.watchers, maxStreams, "open dashboards")
	if !ok {
		return
	}
	defer leave()
	select {
	case d.woken <- struct{}{}: // the picture may be five seconds old
	default:
	}
	e := begin(w)
	for m := (mark{}); ; {
		d.mu.Lock()
		v, changed := d.state.since(m), d.changed
		d.mu.Unlock()
		if m = v.mark; !e.send("state", v) {
			return
		}
		select {
		case <-changed:
		case <-ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// tapped is what is sent of a message.
type tapped struct {
	Time time.Time `json:"time"`
	Cut  bool      `json:"cut,omitempty"` // the payload is longer
	bus.Tapped
}

// tap streams what one client sends and is sent: "tapped"; and "skipped", how much of
// that was left out here.
func (d *Dashboard) tap(w http.ResponseWriter, r *http.Request) {
	id := bus.ClientID(r.URL.Query().Get("client"))
	g, _, _, err := id.Parts()
	if err != nil {
		problem(w, http.StatusBadRequest, "client: it is an id such as g1-dpmq2x0sn1-7")
		return
	}
	conn, ended, leave, ok := d.enter(w, &d.taps, maxTaps, "taps")
	if !ok {
		return
	}
	defer leave()
	queue, missed := make(chan tapped, tapQueue), make(chan int64, 1)
	sub, err := conn.Subscribe(func(m *bus.Msg) {
		t, err := bus.ParseTapped(m)
		if err != nil {
			return // of a newer version
		}
		select {
		case queue <- tapped{Time: time.Now(), Tapped: t}:
		default:
			var n int64 // the callback is one at a time
			select {
			case n = <-missed:
			default:
			}
			missed <- n + 1
		}
	}, bus.ClientTap(g, id), bus.SkippedSubject(g))
	if err != nil {
		problem(w, http.StatusServiceUnavailable, "the registers cannot be asked: "+err.Error())
		return
	}
	defer end(sub)
	e := begin(w)
	if !e.send("tapping", map[string]any{"client": id, "seconds": tapTime.Seconds()}) {
		return
	}
	quiet, enough := time.NewTicker(sign), time.NewTimer(tapTime)
	defer quiet.Stop()
	defer enough.Stop()
	for ok := true; ok; {
		select {
		case t := <-queue:
			t.cut()
			ok = e.send("tapped", t)
		case n := <-missed:
			ok = e.send("skipped", map[string]int64{"skipped": n})
		case <-quiet.C:
			ok = e.write([]byte(": here\n\n"))
		case <-enough.C:
			e.send("over", struct{}{})
			return
		case <-ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// cut leaves of a long payload its beginning.
func (t *tapped) cut() {
	if n := len(t.Text); n > tapPayload {
		for n = tapPayload; n > 0 && !utf8.RuneStart(t.Text[n]); n-- {
		}
		t.Text, t.Cut = t.Text[:n], true
	}
	if len(t.Binary) > tapPayload {
		t.Binary, t.Cut = t.Binary[:tapPayload], true
	}
}

// end leaves a subscription.
func end(sub bus.Subscription) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = sub.Drain(ctx) // goes on leaving by itself
}
