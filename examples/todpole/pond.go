package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// everybody is the group of all clients in the pond.
const everybody = "pond"

// visitor is what the gateway keeps of a client as its session, and brings along
// with each of its frames.
type visitor struct {
	Name string `json:"name"`
	Hue  int    `json:"hue"`
}

// news is what a page is told. Of the fields, each type has some:
//
//	welcome  id, name, hue        the page's own tadpole, in answer to hello
//	join     id, name, hue        one that comes
//	move     id, name, hue, x, y, a, at, asleep
//	name     id, name, hue        one that is called something else now
//	say      id, name, hue, n, text
//	leave    id                   one that is gone
//	error    text                 what was wrong with what the page sent
type news struct {
	Type string       `json:"type"`
	ID   bus.ClientID `json:"id,omitempty"`
	*visitor
	*place
	// N tells whether it has been said before: a frame whose worker dies in the
	// middle is handled once more.
	N    uint64 `json:"n,omitempty"`
	Text string `json:"text,omitempty"`
}

// pond handles what happens to one client.
func pond(ctx context.Context, ev *worker.Event) error {
	switch ev.Kind {
	case worker.Open:
		return enter(ev)
	case worker.Text:
		return receive(ctx, ev)
	case worker.Binary:
		return refuse(ev, "the pond speaks JSON in text frames; this was a binary one")
	case worker.Close:
		return tellOthers(ev, news{Type: "leave"})
	}
	return nil
}

// enter lets a client in, with the name and hue of its URL's query.
func enter(ev *worker.Event) error {
	info, err := ev.OpenInfo()
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(info.Query)
	if err != nil {
		ev.Reject(400, "the query is not valid: "+err.Error())
		return nil
	}
	v := visitor{Name: cleanName(query.Get("name")), Hue: hue(query.Get("hue"))}
	session, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("todpole: session: %w", err)
	}
	if err := ev.Accept(worker.Admission{Groups: []string{everybody}, Session: session}); err != nil {
		return err
	}
	return tellOthers(ev, news{Type: "join", visitor: &v})
}

// receive handles a frame. Whatever is wrong with it is answered, and nobody else
// hears of it.
func receive(ctx context.Context, ev *worker.Event) error {
	var v visitor
	if err := json.Unmarshal(ev.Session, &v); err != nil {
		return fmt.Errorf("todpole: session of %s: %w", ev.Client.ID(), err)
	}
	m, err := parse(ev.Data)
	if err != nil {
		return refuse(ev, err.Error())
	}
	switch m.Type {
	case "hello":
		return answer(ev, news{Type: "welcome", ID: ev.Client.ID(), visitor: &v})
	case "move":
		return tellOthers(ev, news{Type: "move", visitor: &v, place: &m.place})
	case "say":
		return tellOthers(ev, news{Type: "say", visitor: &v, N: ev.Seq, Text: m.Text})
	case "name":
		v.Name = m.Name
		return rename(ctx, ev, v)
	}
	return nil
}

// rename has the gateway keep the new name before anybody hears of it.
func rename(ctx context.Context, ev *worker.Event, v visitor) error {
	session, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("todpole: session: %w", err)
	}
	switch err := ev.Client.SetSession(ctx, session); {
	case errors.Is(err, worker.ErrNoClient):
		return nil // it has just left
	case err != nil:
		return fmt.Errorf("todpole: %w", err)
	}
	if err := tellOthers(ev, news{Type: "name", visitor: &v}); err != nil {
		return err
	}
	return answer(ev, news{Type: "welcome", ID: ev.Client.ID(), visitor: &v})
}

// tellOthers tells all but the client of the event about it.
func tellOthers(ev *worker.Event, n news) error {
	n.ID = ev.Client.ID()
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("todpole: %s: %w", n.Type, err)
	}
	return ev.Cluster.SendGroup(everybody, worker.Text, data, n.ID)
}

// answer tells the client of the event alone.
func answer(ev *worker.Event, n news) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("todpole: %s: %w", n.Type, err)
	}
	ev.ReplyAs(worker.Text, data)
	return nil
}

func refuse(ev *worker.Event, why string) error {
	return answer(ev, news{Type: "error", Text: why})
}
