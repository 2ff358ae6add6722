package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

const (
	// dialTimeout bounds how long a connection to the receiver may take.
	dialTimeout = 5 * time.Second
	// idleTimeout is how long a connection that is not used is kept: less than
	// common servers keep theirs, so that they do not close one that is just used
	// again.
	idleTimeout = 30 * time.Second
	// maxResponseHeader bounds the headers of a response, in bytes.
	maxResponseHeader = 64 << 10
	// changePatience is how long what a response changes about a client may take.
	changePatience = 5 * time.Second
	// warnEvery is how often at most it is told that tries fail.
	warnEvery = 10 * time.Second
)

// Handler is a [worker.Handler] that asks an HTTP server what to do. It may be
// used by many goroutines at the same time. See the package documentation.
type Handler struct {
	// set at construction
	cfg       Config
	url       string
	where     string // the URL as messages show it: without its query
	signer    signer
	transport *http.Transport
	log       *slog.Logger
	clientOf  func(*worker.Event) client // replaced in tests

	warned rate.Sometimes
	count  struct{ requests, retries, refused, failed atomic.Int64 }
}

// client is what a response can change about the client of its event.
type client interface {
	Bind(ctx context.Context, uid string, others worker.Others) error
	Unbind(ctx context.Context) error
	Join(ctx context.Context, groups ...string) error
	Leave(ctx context.Context, groups ...string) error
	SetSession(ctx context.Context, session json.RawMessage) error
	MergeSession(ctx context.Context, patch json.RawMessage) error
}

// Stats are the counters of a handler since its start.
type Stats struct {
	Requests int64 `json:"requests"` // HTTP requests, retries included
	Retries  int64 `json:"retries"`  // requests that were tries of an event after its first
	Refused  int64 `json:"refused"`  // clients that the receiver has refused
	Failed   int64 `json:"failed"`   // events that the receiver has not handled
}

// New makes a handler. It starts nothing.
func New(cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("webhook: url: %w", err)
	}
	keys, err := newSigner(cfg.SigningKeys)
	if err != nil {
		return nil, fmt.Errorf("webhook: signing_keys: %w", err)
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	h := &Handler{
		cfg: cfg, url: u.String(), where: shown(u), signer: keys,
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    dialTimeout,
			MaxConnsPerHost:        cfg.Concurrency,
			MaxIdleConns:           cfg.Concurrency,
			MaxIdleConnsPerHost:    cfg.Concurrency,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxResponseHeader,
			DisableCompression:     true, // frames are small, and a small body must not unpack to a large one
		},
		warned: rate.Sometimes{First: 1, Interval: warnEvery},
	}
	h.log = cfg.Log.With("url", h.where)
	h.clientOf = func(ev *worker.Event) client { return ev.Client }
	return h, nil
}

// shown is a URL as messages show it: a query may have a token in it.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// Stop closes the connections: the worker has ended. It makes the handler a
// [worker.Stopper].
func (h *Handler) Stop(context.Context) { h.transport.CloseIdleConnections() }

// Stats is a snapshot. It may be called at any time.
func (h *Handler) Stats() Stats {
	return Stats{
		Requests: h.count.requests.Load(), Retries: h.count.retries.Load(),
		Refused: h.count.refused.Load(), Failed: h.count.failed.Load(),
	}
}

// Handle posts the event and does what is answered. It takes up to MaxElapsed,
// and the time that changes of the client take. The error says what the receiver
// did; of an open event that nobody could be asked about there is none: the client
// is refused with 503, to come again.
func (h *Handler) Handle(ctx context.Context, ev *worker.Event) error {
	err := h.handle(ctx, ev)
	if err != nil {
		h.count.failed.Add(1)
	}
	if unanswered := (unansweredError{}); ev.Kind == worker.Open && errors.As(err, &unanswered) {
		h.log.Error("nobody can be asked about a client; it is refused", "client", ev.Client.ID(), "err", err)
		ev.Reject(http.StatusServiceUnavailable, "the application does not answer")
		return nil
	}
	return err
}

func (h *Handler) handle(ctx context.Context, ev *worker.Event) error {
	resp, err := h.exchange(ctx, h.newEventRequest(ev, time.Now()))
	if err != nil {
		return err
	}
	a, err := readAnswer(ev.Kind, resp)
	if err == nil {
		err = h.change(ctx, ev, &a.change)
	}
	switch {
	case errors.Is(err, worker.ErrNoClient):
		h.log.Debug("a client has left before what was answered could be done", "client", ev.Client.ID(), "err", err)
		return nil
	case errors.Is(err, worker.ErrUIDTaken):
		if a.change.others == worker.RefuseOthers { // else it was closed when it was replaced
			ev.CloseClient(int(bus.ClosePolicy), "the uid is taken")
		}
		return nil
	case err != nil:
		return fmt.Errorf("webhook: %s: %w", h.where, err)
	}
	return h.answer(ev, a)
}

// GatewayDown posts that a gateway is down, for a receiver that keeps who is
// connected; any 2xx says that it knows. It makes the handler a
// [worker.GatewayDownHandler].
func (h *Handler) GatewayDown(ctx context.Context, down worker.GatewayDown) error {
	r, err := h.newDownRequest(down, time.Now())
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	resp, err := h.exchange(ctx, r)
	if err == nil && !resp.success() {
		err = fmt.Errorf("webhook: %s: %w", h.where, resp.unwanted())
	}
	return err
}

// change changes the client. All of it can be done a second time, when the event
// comes again. An error that wraps worker.ErrNoClient or worker.ErrUIDTaken is no
// failure.
func (h *Handler) change(ctx context.Context, ev *worker.Event, c *change) error {
	if c.empty() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, changePatience, fmt.Errorf("not within %v", changePatience))
	defer cancel()
	client := h.clientOf(ev)
	for _, step := range []struct {
		header string
		wanted bool
		do     func() error
	}{
		{headerUnbind, c.unbind, func() error { return client.Unbind(ctx) }},
		{headerBind, c.bind != "", func() error { return h.bind(ctx, client, c) }},
		{headerLeave, len(c.leave) > 0, func() error { return client.Leave(ctx, c.leave...) }},
		{headerJoin, len(c.join) > 0, func() error { return client.Join(ctx, c.join...) }},
		{headerSetSession, c.set != nil, func() error { return client.SetSession(ctx, c.set) }},
		{headerMergeSession, c.merge != nil, func() error { return client.MergeSession(ctx, c.merge) }},
	} {
		if !step.wanted {
			continue
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("the response's %s: %w", step.header, err)
		}
	}
	return nil
}

// bind gives the client its uid. That not all gateways could be told of that is no
// reason to close it.
func (h *Handler) bind(ctx context.Context, client client, c *change) error {
	err := client.Bind(ctx, c.bind, c.others)
	missing := (*worker.PartialError)(nil)
	if c.others == worker.ReplaceOthers && errors.As(err, &missing) && !errors.Is(err, worker.ErrUIDTaken) {
		h.warn("other clients of a uid may stay", "uid", c.bind, "err", err)
		return nil
	}
	return err
}

// answer answers the event.
func (h *Handler) answer(ev *worker.Event, a *answer) error {
	r := &a.reply
	if a.ignored {
		h.warn("a response has a body without a Content-Type; it is not sent to the client", "client", ev.Client.ID())
	}
	switch {
	case r.Status == bus.Rejected:
		h.count.refused.Add(1)
		ev.Reject(r.Code, r.Reason)
		return nil
	case r.Status == bus.Closed && ev.Kind == worker.Open: // as a plain worker may refuse a client
		h.count.refused.Add(1)
		ev.CloseClient(r.Code, r.Reason)
		return nil
	case ev.Kind == worker.Open:
		return ev.Accept(a.admit)
	}
	if r.Kind.Frame() {
		ev.ReplyAs(r.Kind, r.Data)
	}
	if r.Status == bus.Closed {
		ev.CloseClient(r.Code, r.Reason)
	}
	return nil
}

// retried counts and tells of a try that has failed for now.
func (h *Handler) retried(r *request, try int, pause time.Duration, err error) {
	h.count.retries.Add(1)
	h.log.Debug("a try has failed", "subject", r.subject, "event", r.id, "try", try, "pause", pause, "err", err)
	h.warn("requests fail and are tried again", "subject", r.subject, "event", r.id, "err", err)
}

// warn warns, but not too often.
func (h *Handler) warn(msg string, args ...any) {
	h.warned.Do(func() { h.log.Warn(msg, args...) })
}
