package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a page may send. All of it comes from strangers: a page is only one way to
// write to the socket.
const (
	maxFrame = 16 << 10 // bytes
	maxName  = 32       // characters, of people and of rooms
	maxText  = 2000     // characters
)

// message is what a page sends:
//
//	hello          where am I?
//	who            the same, later
//	say    text    to all in the room
//	enter  room    and leave the one before
//	name   name    what the client is called from now on
type message struct {
	Type string `json:"type"`
	Text string `json:"text"`
	Room string `json:"room"`
	Name string `json:"name"`
}

// parse reads a frame. The error says what is wrong to who has sent it.
func parse(data []byte) (message, error) {
	var m message
	if len(data) > maxFrame {
		return m, fmt.Errorf("a message of %d bytes; at most %d", len(data), maxFrame)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("a message that is not the JSON it should be: %w", err)
	}
	switch m.Type {
	case "hello", "who":
		return m, nil
	case "say":
		if n := utf8.RuneCountInString(m.Text); n > maxText {
			return m, fmt.Errorf("say: a text of %d characters; at most %d", n, maxText)
		}
		if m.Text = strings.TrimSpace(visible(m.Text)); m.Text == "" {
			return m, errors.New("say: the text is empty")
		}
		return m, nil
	case "enter":
		if oneLine(m.Room) == "" {
			return m, errors.New("enter: the room has no name")
		}
		m.Room = cleanRoom(m.Room)
		return m, nil
	case "name":
		if oneLine(m.Name) == "" {
			return m, errors.New("name: it is empty")
		}
		m.Name = cleanName(m.Name)
		return m, nil
	}
	return m, fmt.Errorf("a message of the type %.20q; there are hello, who, say, enter and name", m.Type)
}

// cleanName and cleanRoom make a name presentable, and make one up where there is
// none. Rooms are the same in capitals and small letters.
func cleanName(s string) string { return orElse(short(oneLine(s)), "somebody") }
func cleanRoom(s string) string { return orElse(short(strings.ToLower(oneLine(s))), "lobby") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func short(s string) string {
	r := []rune(s)
	return strings.TrimSpace(string(r[:min(len(r), maxName)]))
}

func oneLine(s string) string { return strings.Join(strings.Fields(visible(s)), " ") }

// visible leaves out what cannot be seen, above all the marks that turn the
// direction of what stands beside them. Line breaks stay, and joiners, which make
// one emoji of several.
func visible(s string) string {
	const joiner = '\u200d'
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) && !unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) && r != joiner {
			return -1
		}
		return r
	}, s)
}
