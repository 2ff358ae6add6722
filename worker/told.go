package worker

import "github.com/gatebus/gatebus/bus"

// told expects of the gateway the uids and groups that its answer to a request names:
// who asks may send to them at once, and what the gateway says of its names comes on
// another way, which can be slower.
func (l *link) told(r bus.Request, a *bus.Answer) {
	var of []bus.Target
	uid := func(name string) { of = append(of, bus.Target{Scope: bus.ToUID, Name: name}) }
	group := func(name string) { of = append(of, bus.Target{Scope: bus.ToGroup, Name: name}) }
	switch r := r.(type) {
	case bus.CountRequest:
		for i, n := range a.Counts {
			switch {
			case n == 0:
			case i < len(r.UIDs):
				uid(r.UIDs[i])
			case i < len(r.Groups):
				group(r.Groups[i])
			}
		}
		if a.Count != nil && *a.Count > 0 {
			group(r.Group)
		}
	case bus.ListRequest:
		for _, n := range a.Names {
			if r.Of == bus.OfUIDs {
				uid(n.Name)
			} else {
				group(n.Name)
			}
		}
		if len(a.Items) > 0 {
			for _, name := range r.UIDs {
				uid(name)
			}
		}
		if len(a.Items)+len(a.Names) > 0 {
			group(r.Group)
		}
	}
	for i := range a.Items {
		uid(a.Items[i].UID)
		for _, name := range a.Items[i].Groups {
			group(name)
		}
	}
	l.names.heard(of)
}

// heard expects names that an answer of the gateway has, and that are not known yet.
func (n *names) heard(of []bus.Target) {
	n.mu.RLock()
	// Also while it is told which there are: it may not have come to this one.
	asked, unknown := n.request > 0, of[:0]
	for _, t := range of {
		if _, ok := n.present[t]; !ok && t.Name != "" {
			unknown = append(unknown, t)
		}
	}
	n.mu.RUnlock()
	if !asked {
		return // everything goes there
	}
	for _, t := range unknown {
		if t.Scope == bus.ToUID {
			n.expect(t.Name, nil)
		} else {
			n.expect("", []string{t.Name})
		}
	}
}
