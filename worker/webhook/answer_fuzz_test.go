package webhook

import (
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// Whatever a receiver answers is refused, or is what a gateway takes.
func FuzzAnswer(f *testing.F) {
	f.Add(200, byte(worker.Text), "Gb-Join", "a, b%2Cc", "Content-Type", "text/plain", "hi")
	f.Add(200, byte(worker.Open), "Gb-Bind", "%f0%9f%a6%84", "Gb-Set-Session", `{"n":1}`, `{"uid":"ann","groups":["a"]}`)
	f.Add(403, byte(worker.Open), "Content-Type", "text/plain", "Gb-Status", "close", "no\nticket")
	f.Add(204, byte(worker.Binary), "Gb-Status", "close 4401 no more", "Gb-Kind", "text", "")
	f.Fuzz(func(t *testing.T, status int, kind byte, name1, value1, name2, value2, body string) {
		k := worker.Kind(kind)
		if status < 200 || status > 599 || !k.Frame() && k != worker.Open && k != worker.Close {
			return
		}
		r := &response{status: status, header: http.Header{}, body: []byte(body)}
		r.header.Add(name1, value1)
		r.header.Add(name2, value2)
		a, err := readAnswer(k, r)
		if err != nil {
			return
		}
		c, reply := &a.change, &a.reply
		names := append(append([]string{}, c.join...), c.leave...)
		if c.bind != "" {
			names = append(names, c.bind)
		}
		if k == worker.Open && reply.Status == bus.Done {
			names = append(names, a.admit.Groups...)
			if a.admit.UID != "" {
				names = append(names, a.admit.UID)
			}
		}
		for _, name := range names {
			if err := bus.CheckToken(name); err != nil {
				t.Error(err)
			}
		}
		switch {
		case len(reply.Reason) > 123 || !utf8.ValidString(reply.Reason):
			t.Errorf("reason %q", reply.Reason)
		case reply.Status == bus.Rejected && (k != worker.Open || reply.Code < 400 || reply.Code > 599):
			t.Errorf("a %v event is rejected with %d", k, reply.Code)
		case reply.Status == bus.Closed && bus.CheckCloseCode(bus.CloseCode(reply.Code)) != nil:
			t.Errorf("a close with %d", reply.Code)
		case reply.Kind == worker.Text && !utf8.Valid(reply.Data):
			t.Errorf("the text %q", reply.Data)
		case k == worker.Close && (reply.Kind != 0 || reply.Status != bus.Done || !c.empty()):
			t.Errorf("a close event is answered: %+v", a)
		}
	})
}
