package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/gatebus/gatebus/bus"
)

// The queries ask all gateways side by side. They are answered by the deadline of the
// context, in five seconds if it has none. A gateway that is not heard by then is
// named in a *PartialError: what is returned beside that is of the others. For one page
// of a list a gateway has half of the time that is left, so that one that is silent
// leaves the others some. Clients that are connecting, or whose end has begun, are
// neither counted nor listed.

// ClientInfo is all that is known of a client.
type ClientInfo = bus.ClientInfo

// NameCount is a uid or group, and how many clients have it.
type NameCount = bus.NameCount

// Info asks the client's gateway for all that is known of it: also what it asked for
// when it connected. The error wraps ErrNoClient if it is gone.
func (c Client) Info(ctx context.Context) (ClientInfo, error) {
	_, a, err := c.do(ctx, bus.InfoRequest{Client: c.id})
	if err != nil {
		return ClientInfo{}, err
	}
	if len(a.Items) != 1 {
		return ClientInfo{}, fmt.Errorf("worker: client %s: the gateway tells of %d clients", c.id, len(a.Items))
	}
	return a.Items[0], nil
}

// Online tells whether the client is connected.
func (c Client) Online(ctx context.Context) (bool, error) {
	l, err := c.cluster.linkOf(c.id)
	if err != nil {
		return false, err
	}
	answers, err := c.cluster.ask(ctx, []*link{l}, bus.CountRequest{Of: bus.OfClients, Clients: []bus.ClientID{c.id}})
	for _, a := range answers {
		return len(a.Counts) == 1 && a.Counts[0] > 0, nil
	}
	return false, err
}

// Online tells which of the clients are connected, in their order. One whose gateway
// is not known any more is not.
func (c *Cluster) Online(ctx context.Context, ids ...bus.ClientID) ([]bool, error) {
	counts, err := c.counts(ctx, len(ids), bus.CountRequest{Of: bus.OfClients, Clients: ids})
	online := make([]bool, len(ids))
	for i, n := range counts {
		online[i] = n > 0
	}
	return online, err
}

// CountUIDClients is how many clients each of the uids has, in their order: none if
// it is offline.
func (c *Cluster) CountUIDClients(ctx context.Context, uids ...string) ([]int, error) {
	return c.counts(ctx, len(uids), bus.CountRequest{Of: bus.OfClients, UIDs: uids})
}

// CountGroupClients is how many clients are in each of the groups, in their order.
func (c *Cluster) CountGroupClients(ctx context.Context, groups ...string) ([]int, error) {
	return c.counts(ctx, len(groups), bus.CountRequest{Of: bus.OfClients, Groups: groups})
}

// counts sums up what each gateway counts of each of n.
func (c *Cluster) counts(ctx context.Context, n int, r bus.CountRequest) ([]int, error) {
	sums := make([]int, n)
	if n == 0 {
		return sums, nil
	}
	answers, err := c.ask(ctx, c.sorted(), r)
	for _, a := range answers {
		for i, count := range a.Counts[:min(n, len(a.Counts))] {
			sums[i] += count
		}
	}
	return sums, err
}

// CountClients is how many clients there are.
func (c *Cluster) CountClients(ctx context.Context) (n int, err error) {
	answers, err := c.ask(ctx, c.sorted(), bus.CountRequest{Of: bus.OfClients})
	for _, a := range answers {
		n += a.count()
	}
	return n, err
}

// CountUIDs is how many uids have clients, in a group if one is named. A uid that has
// clients on several gateways counts once: with several gateways, their lists are
// read for that, a page at a time.
func (c *Cluster) CountUIDs(ctx context.Context, group string) (int, error) {
	return c.countNames(ctx, bus.OfUIDs, group)
}

// CountGroups is how many groups have clients; see CountUIDs.
func (c *Cluster) CountGroups(ctx context.Context) (int, error) {
	return c.countNames(ctx, bus.OfGroups, "")
}

func (c *Cluster) countNames(ctx context.Context, of bus.Of, group string) (n int, err error) {
	if links := c.sorted(); len(links) == 1 {
		answers, err := c.ask(ctx, links, bus.CountRequest{Of: of, Group: group})
		for _, a := range answers {
			n = a.count()
		}
		return n, err
	}
	for _, err := range c.names(ctx, of, NamesQuery{Group: group, Page: bus.MaxPage}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Fields of a client that a list is to tell, beside its id.
const (
	FieldUID     = bus.FieldUID
	FieldGroups  = bus.FieldGroups
	FieldSession = bus.FieldSession
	FieldOpen    = bus.FieldOpen
)

// ClientsQuery says which clients are listed.
type ClientsQuery struct {
	// UIDs are whose clients; Group, in which group they are. Not both; none for all.
	UIDs  []string
	Group string
	// Fields are what is told of each, beside its id: FieldUID and its neighbours.
	Fields []string
	// After is the client that the list begins behind; it need not be there any more.
	After bus.ClientID
	// Page is how many are asked of a gateway at a time, up to bus.MaxPage; 0 means
	// bus.DefaultPage.
	Page int
}

// Clients lists clients, by the names of their gateways and then in the order in
// which they came. They are read from the gateways a page at a time, ahead by one:
// who connects or leaves meanwhile may be missed or not; all others are listed once.
// An error ends the list: a *PartialError at its end if a part is missing.
func (c *Cluster) Clients(ctx context.Context, q ClientsQuery) iter.Seq2[ClientInfo, error] {
	return func(yield func(ClientInfo, error) bool) {
		r := bus.ListRequest{Of: bus.OfClients, UIDs: q.UIDs, Group: q.Group, Fields: q.Fields, Limit: q.Page}
		var first bus.GatewayID
		var epoch bus.Epoch
		if q.After != "" {
			var err error
			if first, epoch, _, err = q.After.Parts(); err != nil {
				yield(ClientInfo{}, err)
				return
			}
		}
		p, err := c.pages(ctx, func(l *link) (bus.ListRequest, bool) {
			own := r
			if l.gateway() == first && l.member.Epoch == epoch {
				own.After = string(q.After)
			}
			return own, l.gateway() >= first
		})
		if err != nil {
			yield(ClientInfo{}, err)
			return
		}
		defer p.stop()
		for _, s := range p.sources {
			for page := range s.pages {
				for _, item := range page.Items {
					if !yield(item, nil) {
						return
					}
				}
			}
		}
		if err := p.err(); err != nil {
			yield(ClientInfo{}, err)
		}
	}
}

// NamesQuery says which uids or groups are listed.
type NamesQuery struct {
	// Group is the group whose clients' uids are listed; none for all.
	Group string
	// After is the name that the list begins behind.
	After string
	// Page is how many are asked of a gateway at a time, up to bus.MaxPage; 0 means
	// bus.DefaultPage.
	Page int
}

// UIDs lists the uids that have clients, in ascending order, each once and with how
// many it has; within the group, if the query names one. As for errors and for what
// changes meanwhile, it is like Clients.
func (c *Cluster) UIDs(ctx context.Context, q NamesQuery) iter.Seq2[NameCount, error] {
	return c.names(ctx, bus.OfUIDs, q)
}

// Groups lists the groups that have clients, in ascending order, each once and with
// how many it has. The query names no Group. As for errors and for what changes
// meanwhile, it is like Clients.
func (c *Cluster) Groups(ctx context.Context, q NamesQuery) iter.Seq2[NameCount, error] {
	return c.names(ctx, bus.OfGroups, q)
}

// names merges the lists of all gateways.
func (c *Cluster) names(ctx context.Context, of bus.Of, q NamesQuery) iter.Seq2[NameCount, error] {
	return func(yield func(NameCount, error) bool) {
		r := bus.ListRequest{Of: of, Group: q.Group, After: q.After, Limit: q.Page}
		p, err := c.pages(ctx, func(*link) (bus.ListRequest, bool) { return r, true })
		if err != nil {
			yield(NameCount{}, err)
			return
		}
		defer p.stop()
		for {
			var next *NameCount
			for _, s := range p.sources {
				if n := s.front(); n != nil && (next == nil || n.Name < next.Name) {
					next = n
				}
			}
			if next == nil {
				break
			}
			sum := NameCount{Name: next.Name}
			for _, s := range p.sources {
				if n := s.front(); n != nil && n.Name == sum.Name {
					sum.Clients += n.Clients
					s.names = s.names[1:]
				}
			}
			if !yield(sum, nil) {
				return
			}
		}
		if err := p.err(); err != nil {
			yield(NameCount{}, err)
		}
	}
}

// pager reads the lists of gateways, each a page ahead.
type pager struct {
	sources []*source
	missing partial
	wrong   error // guarded by missing.mu
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// source is the list of one gateway.
type source struct {
	pages chan bus.Answer
	names []NameCount // of the page that is being read
}

// front is the next name, nil at the end.
func (s *source) front() *NameCount {
	for len(s.names) == 0 {
		page, ok := <-s.pages
		if !ok {
			return nil
		}
		s.names = page.Names
	}
	return &s.names[0]
}

// pages begins to read; which says what is to be asked of a gateway, if anything.
func (c *Cluster) pages(ctx context.Context, which func(*link) (bus.ListRequest, bool)) (*pager, error) {
	p := &pager{}
	ctx, p.cancel = context.WithCancel(ctx)
	for _, l := range c.sorted() {
		r, wanted := which(l)
		if !wanted {
			continue
		}
		if _, err := bus.RequestMsg(l.gateway(), r); err != nil {
			p.stop()
			return nil, err
		}
		s := &source{pages: make(chan bus.Answer, 1)}
		p.sources = append(p.sources, s)
		p.wg.Go(func() {
			defer close(s.pages)
			p.read(ctx, c, l, r, s.pages)
		})
	}
	return p, nil
}

// read reads the list of one gateway to its end.
func (p *pager) read(ctx context.Context, c *Cluster, l *link, r bus.ListRequest, pages chan<- bus.Answer) {
	for {
		own, stop := part(ctx)
		answers, err := c.ask(own, []*link{l}, r)
		stop()
		if err != nil {
			var missing *PartialError
			if errors.As(err, &missing) {
				p.missing.add(l.gateway(), missing.Missing[l.gateway()])
				return
			}
			p.missing.mu.Lock()
			p.wrong = err
			p.missing.mu.Unlock()
			return
		}
		for _, a := range answers {
			select {
			case pages <- a.Answer:
			case <-ctx.Done():
				p.missing.add(l.gateway(), context.Cause(ctx))
				return
			}
			if a.Next == "" {
				return
			}
			r.After = a.Next
		}
	}
}

// stop ends the reading; it returns when nothing of it runs any more.
func (p *pager) stop() {
	p.cancel()
	p.wg.Wait()
}

// err is what was wrong, once the sources are at their ends.
func (p *pager) err() error {
	p.missing.mu.Lock()
	wrong := p.wrong
	p.missing.mu.Unlock()
	if wrong != nil {
		return wrong
	}
	return p.missing.err()
}

// GatewayLink is a gateway that the cluster has a link to.
type GatewayLink struct {
	Gateway bus.GatewayID `json:"gateway"`
	Epoch   bus.Epoch     `json:"epoch"`
	// Address is where its bus is, or on a bus that gateways share what tells its
	// process from others; and Clients where its clients connect.
	Address string `json:"address"`
	Clients string `json:"clients"`
	// Up tells whether the link is up now.
	Up bool `json:"up"`
	// Working is how many events of it are here now: in work, or waiting for their
	// turn.
	Working int `json:"working"`
	// Handled is how many events of it were handled here, failed ones included.
	Handled int64 `json:"handled"`
}

// shown is what is said of the link. mu may be held.
func (l *link) shown(up bool) GatewayLink {
	return GatewayLink{
		Gateway: l.gateway(), Epoch: l.member.Epoch, Address: l.member.Address, Clients: l.member.Clients,
		Up: up, Working: l.jobs.count(), Handled: l.handled.Load(),
	}
}

// Gateways are the gateways that there are links to, by name.
func (c *Cluster) Gateways() []GatewayLink {
	links := c.sorted()
	all := make([]GatewayLink, len(links))
	for i, l := range links {
		all[i] = l.shown(l.isUp())
	}
	return all
}
