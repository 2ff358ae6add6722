package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

const (
	// maxChatName is the longest name in the chat, in characters.
	maxChatName = 32
	// maxChatText is the longest text in the chat, in bytes.
	maxChatText = 4096
	// chatTooLong is the close code for a longer one.
	chatTooLong = 4100
)

// Line is what the clients of the chat receive, as JSON in a text frame.
type Line struct {
	// Type is join, say or leave.
	Type   string       `json:"type"`
	Name   string       `json:"name"`
	Client bus.ClientID `json:"client"`
	Text   string       `json:"text,omitempty"`
}

// session is what a client of the chat is given to keep.
type session struct {
	Name string `json:"name"`
}

// Chat is a room with names. A client opens with ?name=ann; every text frame it
// sends is said to all, itself included, as a [Line]. Who comes and goes is
// told, too.
var Chat worker.Handler = worker.HandlerFunc(chat)

func chat(_ context.Context, ev *worker.Event) error {
	if ev.Kind == worker.Open {
		return chatJoin(ev)
	}
	s := session{Name: guest(ev)} // of a client that another worker let in
	if len(ev.Session) > 0 {
		if err := json.Unmarshal(ev.Session, &s); err != nil {
			return fmt.Errorf("chat: session of %s: %w", ev.Client.ID(), err)
		}
	}
	switch ev.Kind {
	case worker.Text:
		if len(ev.Data) > maxChatText {
			ev.CloseClient(chatTooLong, fmt.Sprintf("a text has at most %d bytes", maxChatText))
			return nil
		}
		return tell(ev, Line{Type: "say", Name: s.Name, Text: string(ev.Data)})
	case worker.Close:
		return tell(ev, Line{Type: "leave", Name: s.Name})
	}
	return nil // binary frames say nothing
}

func chatJoin(ev *worker.Event) error {
	info, err := ev.OpenInfo()
	if err != nil {
		return err
	}
	query, err := url.ParseQuery(info.Query)
	if err != nil {
		ev.Reject(400, "the query is not valid: "+err.Error())
		return nil
	}
	name := chatName(query.Get("name"))
	if name == "" {
		name = guest(ev)
	}
	data, err := json.Marshal(session{name})
	if err != nil {
		return fmt.Errorf("chat: session: %w", err)
	}
	if err := ev.Accept(worker.Admission{Session: data}); err != nil {
		return err
	}
	return tell(ev, Line{Type: "join", Name: name})
}

// guest is the name of a client that has given none.
func guest(ev *worker.Event) string {
	id := string(ev.Client.ID())
	return "guest-" + id[strings.LastIndexByte(id, '-')+1:]
}

// tell says a line to everybody: the room is all clients.
func tell(ev *worker.Event, l Line) error {
	l.Client = ev.Client.ID()
	data, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("chat: line: %w", err)
	}
	return ev.Cluster.SendAll(worker.Text, data)
}

// chatName makes a name presentable: one line, no padding, not too long.
func chatName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	r := []rune(strings.TrimSpace(s))
	return strings.TrimSpace(string(r[:min(len(r), maxChatName)]))
}
