package webhook

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/worker"
)

// The types of events: of a client with its kind behind, of a gateway.
const (
	typePrefix = "com.gatebus.client."
	typeDown   = "com.gatebus.gateway.down"
)

// The content types of what is sent.
const (
	textType   = "text/plain; charset=utf-8"
	binaryType = "application/octet-stream"
	jsonType   = "application/json"
)

// request is an event as it is sent, but for what differs from one try to the
// next.
type request struct {
	id      string
	subject string // who it happened to
	header  http.Header
	body    []byte
}

// downInfo is the body of the event about a gateway.
type downInfo struct {
	Gateway bus.GatewayID `json:"gateway"`
	Epoch   bus.Epoch     `json:"epoch"`
}

// newDownRequest makes the request about a gateway that is down.
func (h *Handler) newDownRequest(down worker.GatewayDown, now time.Time) (*request, error) {
	body, err := json.Marshal(downInfo(down))
	if err != nil {
		return nil, err
	}
	// The clients that it had are named <gateway>-<epoch>-<number>.
	life := string(down.Gateway) + "-" + down.Epoch.String()
	return h.newRequest(life+":down", typeDown, life, down.Gateway, jsonType, body, now), nil
}

// newEventRequest makes the request of an event that is handled from now on.
func (h *Handler) newEventRequest(ev *worker.Event, now time.Time) *request {
	contentType := jsonType
	switch ev.Kind {
	case worker.Text:
		contentType = textType
	case worker.Binary:
		contentType = binaryType
	}
	client := string(ev.Client.ID())
	gateway, _, _, _ := ev.Client.ID().Parts() // of another make's id it is not known
	id := client + ":" + strconv.FormatUint(ev.Seq, 10)
	r := h.newRequest(id, typePrefix+ev.Kind.String(), client, gateway, contentType, ev.Data, now)
	r.attribute("delivery", strconv.Itoa(ev.Delivery))
	if ev.UID != "" {
		r.attribute("uid", ev.UID)
	}
	if len(ev.Session) > 0 {
		r.attribute("session", string(ev.Session))
	}
	return r
}

// newRequest makes what all requests have in common. The id has no full stop, which
// would blur what is signed.
func (h *Handler) newRequest(id, what, subject string, gateway bus.GatewayID, contentType string, body []byte, now time.Time) *request {
	r := &request{id: id, subject: subject, header: http.Header{}, body: body}
	for name, value := range h.cfg.Headers {
		r.header.Set(name, string(value))
	}
	if r.header.Get("User-Agent") == "" {
		r.header.Set("User-Agent", "gatebus/"+buildinfo.Version())
	}
	r.header.Set("Content-Type", contentType)
	r.attribute("specversion", "1.0")
	r.attribute("id", id)
	r.attribute("source", "/gatebus/"+string(gateway))
	r.attribute("type", what)
	r.attribute("subject", subject)
	r.attribute("time", now.UTC().Format(time.RFC3339Nano))
	if h.cfg.Group != "" {
		r.attribute("workergroup", h.cfg.Group)
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
