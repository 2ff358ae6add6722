package worker

import (
	"context"
	"errors"
	"time"

	"github.com/gatebus/gatebus/bus"
)

// ClientsPage is a page of what [Cluster.Clients] lists: up to q.Page clients. Next,
// if it is not empty, is the After of the page behind it. A page may have less, down
// to none, and there be a next one all the same.
//
// The error may be a *PartialError. It names the gateways whose clients would have been
// on this page: who reads page after page must look at the error of each.
func (c *Cluster) ClientsPage(ctx context.Context, q ClientsQuery) (page []ClientInfo, next bus.ClientID, err error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	if q.Page <= 0 {
		q.Page = bus.DefaultPage
	}
	r := bus.ListRequest{Of: bus.OfClients, UIDs: q.UIDs, Group: q.Group, Fields: q.Fields, Limit: q.Page, After: string(q.After)}
	if _, err := bus.RequestMsg(bus.AllGateways, r); err != nil {
		return nil, "", err
	}
	links := c.sorted()
	var first linkKey
	if q.After != "" {
		g, epoch, _, _ := q.After.Parts() // checked with the request
		first = linkKey{g, epoch}
		for len(links) > 0 && links[0].key().before(first) {
			links = links[1:]
		}
	}
	var missing partial
	// Most pages are of one gateway, so few are asked for what would not fit; if
	// there is little on each, all are, in few rounds.
	for wave := 1; len(links) > 0; wave *= 2 {
		now := links[:min(wave, len(links))]
		links = links[len(now):]
		answers, err := c.eachIn(ctx, now, func(l *link) bus.Request {
			own := r
			if l.key() != first {
				own.After = ""
			}
			return own
		})
		if err := missing.merge(err); err != nil {
			return page, "", errors.Join(err, missing.err())
		}
		for i, a := range answers {
			room := q.Page - len(page)
			page = append(page, a.Items[:min(room, len(a.Items))]...)
			if len(a.Items) > room || a.Next != "" || len(page) == q.Page && (i+1 < len(answers) || len(links) > 0) {
				return page, endOf(page, a), missing.before(a.link)
			}
		}
	}
	return page, "", missing.err()
}

// endOf is the client that the page behind this one begins behind.
func endOf(page []ClientInfo, a asked) bus.ClientID {
	if len(page) > 0 {
		return page[len(page)-1].Client
	}
	return bus.ClientID(a.Next)
}

// before is the order of lists of clients.
func (k linkKey) before(o linkKey) bool {
	return k.name < o.name || k.name == o.name && k.epoch < o.epoch
}

// UIDsPage is a page of what [Cluster.UIDs] lists: up to q.Page uids. Next, if it is
// not empty, is the After of the page behind it. The error may be a *PartialError; with
// several gateways each of them is asked for each page.
func (c *Cluster) UIDsPage(ctx context.Context, q NamesQuery) (page []NameCount, next string, err error) {
	return c.namesPage(ctx, bus.OfUIDs, q)
}

// GroupsPage is a page of what [Cluster.Groups] lists; see UIDsPage.
func (c *Cluster) GroupsPage(ctx context.Context, q NamesQuery) (page []NameCount, next string, err error) {
	return c.namesPage(ctx, bus.OfGroups, q)
}

func (c *Cluster) namesPage(ctx context.Context, of bus.Of, q NamesQuery) (page []NameCount, next string, err error) {
	if q.Page <= 0 {
		q.Page = bus.DefaultPage
	}
	answers, err := c.ask(ctx, c.sorted(), bus.ListRequest{Of: of, Group: q.Group, After: q.After, Limit: q.Page})
	for {
		// Behind the end of a gateway's page, what it has is not known.
		var least *NameCount
		for i, a := range answers {
			switch {
			case len(a.Names) > 0:
				if least == nil || a.Names[0].Name < least.Name {
					least = &answers[i].Names[0]
				}
			case a.Next != "" && len(page) > 0:
				return page, page[len(page)-1].Name, err
			case a.Next != "":
				return page, a.Next, err // a page of nothing
			}
		}
		if least == nil {
			return page, "", err
		}
		if len(page) == q.Page {
			return page, page[len(page)-1].Name, err
		}
		sum := NameCount{Name: least.Name}
		for i, a := range answers {
			if len(a.Names) > 0 && a.Names[0].Name == sum.Name {
				sum.Clients += a.Names[0].Clients
				answers[i].Names = a.Names[1:]
			}
		}
		page = append(page, sum)
	}
}

// part is a context for a part of what is to be done until ctx ends: it leaves half of
// the time to what comes after, so that a gateway that is silent does not use up the
// time of the others.
func part(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := patient(ctx)
	deadline, _ := ctx.Deadline()
	half := time.Until(deadline) / 2
	own, stop := context.WithTimeoutCause(ctx, half, noAnswer(half))
	return own, func() { stop(); cancel() }
}

// eachIn has a request made for each gateway answered, in a part of the time.
func (c *Cluster) eachIn(ctx context.Context, links []*link, make func(*link) bus.Request) ([]asked, error) {
	messages := map[*link]*bus.Msg{}
	for _, l := range links {
		m, err := bus.RequestMsg(l.gateway(), make(l))
		if err != nil {
			return nil, err
		}
		messages[l] = m
	}
	ctx, cancel := part(ctx)
	defer cancel()
	return c.each(ctx, links, func(l *link) *bus.Msg { return messages[l] })
}

// merge adds the gateways that an error names; what else it says is returned.
func (p *partial) merge(err error) error {
	var missing *PartialError
	if !errors.As(err, &missing) {
		return err
	}
	for g, err := range missing.Missing {
		p.add(g, err)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err != error(missing) {
		var others []error
		for _, err := range joined.Unwrap() {
			if err != error(missing) {
				others = append(others, err)
			}
		}
		return errors.Join(others...)
	}
	return nil
}

// before is err without the gateways that come behind one.
func (p *partial) before(l *link) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for g := range p.missing {
		if g > l.gateway() {
			delete(p.missing, g)
		}
	}
	if len(p.missing) == 0 {
		return nil
	}
	return &PartialError{Missing: p.missing}
}
