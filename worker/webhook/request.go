package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/worker"
)

// The types of events. "com.gatebus.client." and the event's kind.
const typePrefix = "com.gatebus.client."

// The content types of what is sent.
const (
	textType   = "text/plain; charset=utf-8"
	binaryType = "application/octet-stream"
	jsonType   = "application/json"
)

// request is an event as it is sent, but for what differs from one try to the
// next.
type request struct {
	id     string
	client string
	kind   worker.Kind
	header http.Header
	body   []byte
}

// newRequest makes the request of an event that is handled from now on.
func (h *Handler) newRequest(ev *worker.Event, now time.Time) *request {
	client := string(ev.Client.ID())
	r := &request{
		// No full stop: it would blur what is signed.
		id:     client + ":" + strconv.FormatUint(ev.Seq, 10),
		client: client,
		kind:   ev.Kind,
		header: http.Header{},
		body:   ev.Data,
	}
	for name, value := range h.cfg.Headers {
		r.header.Set(name, string(value))
	}
	if r.header.Get("User-Agent") == "" {
		r.header.Set("User-Agent", "gatebus/"+buildinfo.Version())
	}
	switch ev.Kind {
	case worker.Text:
		r.header.Set("Content-Type", textType)
	case worker.Binary:
		r.header.Set("Content-Type", binaryType)
	default:
		r.header.Set("Content-Type", jsonType)
	}
	gateway, _, _, _ := ev.Client.ID().Parts() // of another make's id it is not known
	r.attribute("specversion", "1.0")
	r.attribute("id", r.id)
	r.attribute("source", "/gatebus/"+string(gateway))
	r.attribute("type", typePrefix+ev.Kind.String())
	r.attribute("subject", client)
	r.attribute("time", now.UTC().Format(time.RFC3339Nano))
	r.attribute("delivery", strconv.Itoa(ev.Delivery))
	if h.cfg.Group != "" {
		r.attribute("workergroup", h.cfg.Group)
	}
	if ev.UID != "" {
		r.attribute("uid", ev.UID)
	}
	if len(ev.Session) > 0 {
		r.attribute("session", string(ev.Session))
	}
	return r
}

// attribute sets an attribute of the CloudEvent.
func (r *request) attribute(name, value string) { r.header.Set("ce-"+name, percentEncode(value)) }

const hexDigits = "0123456789ABCDEF"

// percentEncode makes a header value of an attribute, as the HTTP binding of
// CloudEvents 1.0 demands (§3.1.3.2): bytes that are not printable ASCII, the
// space, the double quote and the percent sign become %XX.
func percentEncode(s string) string {
	plain := func(c byte) bool { return '!' <= c && c <= '~' && c != '"' && c != '%' }
	extra := 0
	for i := range len(s) {
		if !plain(s[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + extra)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}
