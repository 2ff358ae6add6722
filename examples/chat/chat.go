package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// session is what the gateway keeps of a client, and brings along with each of its
// frames.
type session struct {
	Name string `json:"name"`
	Room string `json:"room"`
}

// group is the group of a room's clients.
func group(room string) string { return roomPrefix + room }

const roomPrefix = "room:"

// news is what a page is told. Of the fields, each type has some:
//
//	room   id, name, room, people, rooms, partial   where the page's own client is,
//	                           and who else; in answer to hello, enter and who
//	join   id, name, room      one that comes into the room
//	leave  id, name, room      one that is gone from it
//	name   id, name, room, old one that is called something else now
//	say    id, name, room, n, at, text
//	error  text                what was wrong with what the page sent
type news struct {
	Type string       `json:"type"`
	ID   bus.ClientID `json:"id,omitempty"`
	Name string       `json:"name,omitempty"`
	Old  string       `json:"old,omitempty"`
	Room string       `json:"room,omitempty"`
	*census
	// N tells whether it has been said before: a frame whose worker dies in the
	// middle is handled once more.
	N    uint64 `json:"n,omitempty"`
	At   int64  `json:"at,omitempty"` // milliseconds since 1970
	Text string `json:"text,omitempty"`
}

// chat handles what happens to one client.
func chat(ctx context.Context, ev *worker.Event) error {
	if ev.Kind == worker.Open {
		return open(ev)
	}
	var s session
	if err := json.Unmarshal(ev.Session, &s); err != nil {
		return fmt.Errorf("chat: session of %s: %w", ev.Client.ID(), err)
	}
	switch ev.Kind {
	case worker.Text:
		return receive(ctx, ev, s)
	case worker.Binary:
		return refuse(ev, "the chat speaks JSON in text frames; this was a binary one")
	case worker.Close:
		return tell(ev, s.Room, news{Type: "leave", Name: s.Name})
	}
	return nil
}

// open lets a client in, with the name and into the room of its URL's query. Here
// is the place to look at a cookie or token of ev.OpenInfo, at the Origin that the
// page came from, and to refuse: ev.Reject(401, "log in first").
func open(ev *worker.Event) error {
	info, err := ev.OpenInfo()
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(info.Query)
	if err != nil {
		ev.Reject(400, "the query is not valid: "+err.Error())
		return nil
	}
	s := session{Name: cleanName(query.Get("name")), Room: cleanRoom(query.Get("room"))}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("chat: session: %w", err)
	}
	if err := ev.Accept(worker.Admission{Groups: []string{group(s.Room)}, Session: data}); err != nil {
		return err
	}
	return tell(ev, s.Room, news{Type: "join", Name: s.Name})
}

// receive handles a frame. Whatever is wrong with it is answered, and nobody else
// hears of it.
func receive(ctx context.Context, ev *worker.Event, s session) error {
	m, err := parse(ev.Data)
	if err != nil {
		return refuse(ev, err.Error())
	}
	switch m.Type {
	case "hello", "who":
		return answerRoom(ctx, ev, s)
	case "say":
		// What is said can be kept here, in a database: rooms have no memory.
		return tell(ev, s.Room, news{Type: "say", Name: s.Name, N: ev.Seq, At: time.Now().UnixMilli(), Text: m.Text})
	case "enter":
		err = enter(ctx, ev, s, m.Room)
	case "name":
		err = rename(ctx, ev, s, m.Name)
	}
	if errors.Is(err, worker.ErrNoClient) {
		return nil // it has just left; its close event comes next
	}
	return err
}

// enter changes the room. Each step can be done twice without harm, as it is if
// this worker dies in the middle and another one does it all again.
func enter(ctx context.Context, ev *worker.Event, s session, room string) error {
	if room != s.Room {
		if err := ev.Client.Join(ctx, group(room)); err != nil {
			return fmt.Errorf("chat: %w", err)
		}
		if err := ev.Client.Leave(ctx, group(s.Room)); err != nil {
			return fmt.Errorf("chat: %w", err)
		}
		if err := tell(ev, s.Room, news{Type: "leave", Name: s.Name}); err != nil {
			return err
		}
		s.Room = room
		if err := keep(ctx, ev, s); err != nil {
			return err
		}
		if err := tell(ev, s.Room, news{Type: "join", Name: s.Name}, ev.Client.ID()); err != nil {
			return err
		}
	}
	return answerRoom(ctx, ev, s)
}

func rename(ctx context.Context, ev *worker.Event, s session, name string) error {
	old := s.Name
	s.Name = name
	if err := keep(ctx, ev, s); err != nil {
		return err
	}
	return tell(ev, s.Room, news{Type: "name", Name: name, Old: old})
}

// keep has the gateway keep the session. The events of a client come one at a
// time, so nobody else changes it meanwhile.
func keep(ctx context.Context, ev *worker.Event, s session) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = ev.Client.SetSession(ctx, data)
	}
	if err != nil {
		return fmt.Errorf("chat: session: %w", err)
	}
	return nil
}

// tell tells everybody in a room but those excepted something about the client of
// the event.
func tell(ev *worker.Event, room string, n news, except ...bus.ClientID) error {
	n.ID, n.Room = ev.Client.ID(), room
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("chat: %s: %w", n.Type, err)
	}
	return ev.Cluster.SendGroup(group(room), worker.Text, data, except...)
}

// answer tells the client of the event alone.
func answer(ev *worker.Event, n news) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("chat: %s: %w", n.Type, err)
	}
	ev.ReplyAs(worker.Text, data)
	return nil
}

func refuse(ev *worker.Event, why string) error {
	return answer(ev, news{Type: "error", Text: why})
}
