package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

const (
	// A page shows no longer lists than these.
	maxPeople, maxRooms = 200, 50
	// patience is how long a gateway may take to tell who is there. A list that
	// lacks some is better than a page that waits.
	patience = 2 * time.Second
)

// census is who is in a room, and which rooms there are.
type census struct {
	People []person `json:"people"`
	Rooms  []place  `json:"rooms"`
	// Partial tells that there are more: a gateway has not answered, or the list
	// is too long.
	Partial bool `json:"partial,omitempty"`
}

type person struct {
	ID   bus.ClientID `json:"id"`
	Name string       `json:"name"`
}

type place struct {
	Room   string `json:"room"`
	People int    `json:"people"`
}

// answerRoom tells the client of the event where it is and who else.
func answerRoom(ctx context.Context, ev *worker.Event, s session) error {
	c, err := count(ctx, ev.Cluster, s.Room)
	if err != nil {
		return err
	}
	return answer(ev, news{Type: "room", ID: ev.Client.ID(), Name: s.Name, Room: s.Room, census: c})
}

// count asks all gateways.
func count(ctx context.Context, cluster *worker.Cluster, room string) (*census, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := &census{People: []person{}, Rooms: []place{}} // not null in JSON
	for info, err := range cluster.Clients(ctx, worker.ClientsQuery{Group: group(room), Fields: []string{worker.FieldSession}, Page: maxPeople + 1}) {
		if err != nil {
			if err := c.lacks(err); err != nil {
				return nil, fmt.Errorf("chat: who is in %q: %w", room, err)
			}
			break
		}
		if len(c.People) == maxPeople {
			c.Partial = true
			break
		}
		var s session
		if json.Unmarshal(info.Session, &s) == nil { // else it is no client of the chat
			c.People = append(c.People, person{info.Client, s.Name})
		}
	}
	for g, err := range cluster.Groups(ctx, worker.NamesQuery{}) {
		if err != nil {
			if err := c.lacks(err); err != nil {
				return nil, fmt.Errorf("chat: which rooms there are: %w", err)
			}
			break
		}
		if name, ok := strings.CutPrefix(g.Name, roomPrefix); ok {
			c.Rooms = append(c.Rooms, place{name, g.Clients})
		}
	}
	slices.SortStableFunc(c.Rooms, func(a, b place) int { return cmp.Compare(b.People, a.People) })
	c.Rooms = c.Rooms[:min(len(c.Rooms), maxRooms)]
	return c, nil
}

// lacks notes that a gateway has not answered in time; any other error comes back.
func (c *census) lacks(err error) error {
	if _, ok := errors.AsType[*worker.PartialError](err); ok {
		c.Partial = true
		return nil
	}
	return err
}
