package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// askPatience is how long a gateway is waited for if the context has no deadline.
const askPatience = 5 * time.Second

// The errors of what a gateway does not do.
var (
	// ErrNoClient says that the client is not there: its connection has ended.
	ErrNoClient = errors.New("the client is not connected")
	// ErrUIDTaken says that another client has the uid.
	ErrUIDTaken = errors.New("the uid is taken")
	// ErrSessionChanged says that the session is not of the version that was named.
	ErrSessionChanged = errors.New("the session has changed meanwhile")
	// ErrLimit says that a client would have more than it may.
	ErrLimit = errors.New("over the limit")
)

// PartialError says that some gateways did not answer, or not in time: what was
// returned beside it is of the others, and what was to be done is done there. With
// errors.Is it is also each of the causes.
type PartialError struct {
	// Missing are the gateways that did not answer, and why.
	Missing map[bus.GatewayID]error
}

// Error names the gateways.
func (e *PartialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker: %d gateways did not answer", len(e.Missing))
	if len(e.Missing) == 1 {
		b.Reset()
		b.WriteString("worker: a gateway did not answer")
	}
	for i, g := range e.gateways() {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		fmt.Fprintf(&b, "%s: %v", g, e.Missing[g])
	}
	return b.String()
}

// Unwrap are the causes.
func (e *PartialError) Unwrap() (causes []error) {
	for _, g := range e.gateways() {
		causes = append(causes, e.Missing[g])
	}
	return causes
}

func (e *PartialError) gateways() (names []bus.GatewayID) {
	for g := range e.Missing {
		names = append(names, g)
	}
	slices.Sort(names)
	return names
}

// partial collects the gateways that are missing.
type partial struct {
	mu      sync.Mutex
	missing map[bus.GatewayID]error
}

func (p *partial) add(g bus.GatewayID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missing == nil {
		p.missing = map[bus.GatewayID]error{}
	}
	p.missing[g] = err
}

// err is a *PartialError, or nil.
func (p *partial) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.missing) == 0 {
		return nil
	}
	return &PartialError{Missing: p.missing}
}

// patient gives a context a deadline if it has none.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, askPatience, noAnswer(askPatience))
}

// noAnswer is what is wrong when so much time has passed; it is a
// context.DeadlineExceeded.
type noAnswer time.Duration

func (n noAnswer) Error() string {
	return fmt.Sprintf("no answer in %v", time.Duration(n).Round(time.Millisecond))
}

func (noAnswer) Is(target error) bool { return target == context.DeadlineExceeded }

// request publishes a message to a gateway and waits for its answer. An error of the
// gateway's is one of the errors above, where it has one.
func (l *link) request(ctx context.Context, m *bus.Msg) (a bus.Answer, err error) {
	conn, err := l.reach()
	if err != nil {
		return a, err
	}
	l.names.release() // it may be about those that frames were just sent to
	ctx, cancel := patient(ctx)
	defer cancel()
	carryTrace(ctx, m)
	answer, err := conn.Request(ctx, m)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return a, fmt.Errorf("gateway %s: %w", l.gateway(), err)
	}
	if a, err = bus.ParseAnswer(answer.Data); err != nil {
		return a, err
	}
	return a, answerError(&a.Result)
}

// wrongError is what a gateway finds wrong with a request: the others would too. With
// errors.Is it is bus.ErrMessage, as what is found wrong before it is sent.
type wrongError struct{ error }

func (wrongError) Is(target error) bool { return target == bus.ErrMessage }

func answerError(r *bus.Result) error {
	switch r.Code {
	case "":
		if r.Error == "" {
			return nil
		}
	case bus.CodeUIDTaken:
		return ErrUIDTaken
	case bus.CodeSessionChanged:
		return ErrSessionChanged
	case bus.CodeLimit:
		return fmt.Errorf("%w: %s", ErrLimit, r.Error)
	case bus.CodeBadRequest:
		return wrongError{errors.New(r.Error)}
	}
	return fmt.Errorf("gateway %s: %s", r.Gateway, r.Error)
}

// do asks the gateway of a client. The error wraps ErrNoClient if it is gone.
func (c Client) do(ctx context.Context, r bus.Request) (*link, bus.Answer, error) {
	l, err := c.cluster.linkOf(c.id)
	if err != nil {
		return nil, bus.Answer{}, err
	}
	m, err := bus.RequestMsg(l.gateway(), r)
	if err != nil {
		return nil, bus.Answer{}, err
	}
	a, err := l.request(ctx, m)
	l.told(r, &a)
	if err == nil && a.Clients == 0 {
		err = ErrNoClient
	}
	if err != nil {
		err = fmt.Errorf("worker: client %s: %w", c.id, err)
	}
	return l, a, err
}

// sorted are the links, by the names of their gateways.
func (c *Cluster) sorted() []*link {
	links := c.w.allLinks()
	slices.SortFunc(links, func(a, b *link) int {
		return cmp.Or(cmp.Compare(a.member.Name, b.member.Name), cmp.Compare(a.member.Epoch, b.member.Epoch))
	})
	return links
}

// asked is the answer of a gateway.
type asked struct {
	link *link
	bus.Answer
}

// count is how many a gateway counted.
func (a *asked) count() int {
	if a.Count == nil {
		return 0
	}
	return *a.Count
}

// ask asks gateways side by side. The answers are those that came, in the order of
// the links; the error is a *PartialError, or says what is wrong with the request.
func (c *Cluster) ask(ctx context.Context, links []*link, r bus.Request) ([]asked, error) {
	m, err := bus.RequestMsg(bus.AllGateways, r) // the subject aside, it is the same for all
	if err != nil {
		return nil, err
	}
	_, op, err := bus.ParseCommandSubject(m.Subject)
	if err != nil {
		return nil, err
	}
	answers, err := c.each(ctx, links, func(l *link) *bus.Msg {
		return &bus.Msg{Subject: bus.CommandSubject(l.gateway(), op), Data: m.Data}
	})
	for i := range answers {
		answers[i].link.told(r, &answers[i].Answer)
	}
	return answers, err
}

// each has what make makes answered by gateways, side by side.
func (c *Cluster) each(ctx context.Context, links []*link, make func(*link) *bus.Msg) (answers []asked, err error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	var missing partial
	var wrong error
	answers = append(answers, newAsked(links)...)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, l := range links {
		wg.Go(func() {
			a, err := l.request(ctx, make(l))
			var bad wrongError
			switch {
			case errors.As(err, &bad), errors.Is(err, bus.ErrTooLarge), errors.Is(err, ErrLimit):
				mu.Lock()
				wrong = fmt.Errorf("worker: %w", err)
				mu.Unlock()
			case err != nil:
				missing.add(l.gateway(), err)
			default:
				answers[i] = asked{l, a}
			}
		})
	}
	wg.Wait()
	answers = slices.DeleteFunc(answers, func(a asked) bool { return a.link == nil })
	return answers, errors.Join(wrong, missing.err())
}

func newAsked(links []*link) []asked { return make([]asked, len(links)) }

// sum asks all gateways, and sums up how many clients each has reached.
func (c *Cluster) sum(ctx context.Context, r bus.Request) (n int, err error) {
	answers, err := c.ask(ctx, c.sorted(), r)
	for _, a := range answers {
		n += a.Clients
	}
	return n, err
}
