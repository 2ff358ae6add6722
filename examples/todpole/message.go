package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a page may send. All of it comes from strangers: a page is only one way to
// write to the socket.
const (
	maxFrame = 1024    // bytes
	maxName  = 20      // characters
	maxText  = 140     // characters
	radius   = 1000    // of the pond, whose middle is 0, 0
	maxTime  = 1 << 53 // milliseconds: what JavaScript counts to
)

// message is what a page sends:
//
//	hello                      who am I?
//	move  x, y, a, at, asleep  where its tadpole is
//	say   text                 what it says
//	name  name                 what it is called from now on
type message struct {
	Type string `json:"type"`
	place
	Text string `json:"text"`
	Name string `json:"name"`
}

// place is where a tadpole is, and which way it looks: an angle in radians,
// clockwise from the right. At is when, in milliseconds of its page's own clock:
// two workers may overtake each other, and then the older place is not wanted.
type place struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Angle  float64 `json:"a"`
	At     int64   `json:"at"`
	Asleep bool    `json:"asleep,omitempty"` // its page is in the background
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
	case "hello":
		return m, nil
	case "move":
		return m, m.place.check()
	case "say":
		if n := utf8.RuneCountInString(m.Text); n > maxText {
			return m, fmt.Errorf("say: a text of %d characters; at most %d", n, maxText)
		}
		if m.Text = cleanLine(m.Text); m.Text == "" {
			return m, errors.New("say: the text is empty")
		}
		return m, nil
	case "name":
		if cleanLine(m.Name) == "" {
			return m, errors.New("name: it is empty")
		}
		m.Name = cleanName(m.Name)
		return m, nil
	}
	return m, fmt.Errorf("a message of the type %.20q; there are hello, move, say and name", m.Type)
}

func (p *place) check() error {
	switch {
	case math.Hypot(p.X, p.Y) > radius:
		return fmt.Errorf("move: (%g, %g) is not in the pond, whose radius is %d", p.X, p.Y, radius)
	case math.Abs(p.Angle) > math.Pi+0.01:
		return fmt.Errorf("move: an angle of %g; it is from -π to π", p.Angle)
	case p.At < 0 || p.At > maxTime:
		return errors.New("move: at must be a number of milliseconds")
	}
	return nil
}

// cleanName makes a name presentable, and makes one up for who has none.
func cleanName(s string) string {
	r := []rune(cleanLine(s))
	if s = strings.TrimSpace(string(r[:min(len(r), maxName)])); s == "" {
		return "tadpole"
	}
	return s
}

// cleanLine makes one line of a text, without what cannot be seen and with single
// spaces. Marks that turn the direction of what stands beside them are left out;
// joiners, which make one emoji of several, stay.
func cleanLine(s string) string {
	const joiner = '\u200d'
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, unicode.IsControl(r), unicode.Is(unicode.Cf, r) && r != joiner:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// hue is a colour on the wheel of 360 degrees; whatever is none of them is one of
// them, too.
func hue(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= 360 {
		return 140
	}
	return n
}
