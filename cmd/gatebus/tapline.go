package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
)

// tapWriter writes what a tap shows: a line each, as columns or as JSON.
type tapWriter struct {
	json  *json.Encoder // nil: columns
	table *table
	max   int // bytes of a payload; 0: all of it
}

func newTapWriter(w io.Writer, asJSON bool, most int) *tapWriter {
	t := &tapWriter{max: most}
	if asJSON {
		t.json = json.NewEncoder(w)
		t.json.SetEscapeHTML(false)
		return t
	}
	t.table = &table{w: w, widths: []int{12, 2, 4, 16, 6, 6, 0}}
	return t
}

func (w *tapWriter) write(at time.Time, t bus.Tapped) error {
	if w.json != nil {
		if w.max > 0 {
			t.Text, t.Binary = cutText(t.Text, w.max), t.Binary[:min(len(t.Binary), w.max)]
		}
		return w.json.Encode(struct {
			Time time.Time `json:"time"`
			bus.Tapped
		}{at, t})
	}
	clock := at.Format("15:04:05.000")
	if t.Way == bus.WaySkipped {
		of := orNone(string(t.Gateway)) + " has mirrored"
		if t.Gateway == "" {
			of = "this command has written"
		}
		_, err := fmt.Fprintf(w.table.w, "%s  --- %s %d messages fewer than there were: it was too much\n", clock, of, t.Skipped)
		return err
	}
	w.table.add(clock, shown(string(t.Gateway)), string(t.Way), whose(t), what(t), fmt.Sprintf("%6d", t.Size), w.payload(t))
	return w.table.flush()
}

// whose is the client of an event, or to whom a push goes.
func whose(t bus.Tapped) string {
	switch {
	case t.Client != "":
		return shown(string(t.Client))
	case t.To == "":
		return "-"
	case len(t.Names) == 0:
		return string(t.To)
	}
	const most = 3
	names := make([]string, 0, most+1)
	for _, n := range t.Names[:min(len(t.Names), most)] {
		names = append(names, shown(n))
	}
	if more := len(t.Names) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return string(t.To) + " " + strings.Join(names, ",")
}

// what is the kind, and what is unusual.
func what(t bus.Tapped) string {
	kind := t.Kind
	switch {
	case t.Operation != "":
		kind = t.Operation
	case t.Status != "":
		kind = t.Status
	case kind == "" && t.Size == 0:
		kind = "done" // an answer without a frame
	case kind == "":
		kind = "frame"
	}
	if kind = shown(kind); t.Delivery > 1 {
		kind += fmt.Sprintf(" (delivery %d)", t.Delivery)
	}
	return kind
}

func (w *tapWriter) payload(t bus.Tapped) string {
	switch {
	case t.Hidden:
		return "(hidden)"
	case t.Size == 0:
		return ""
	}
	p, most := t.Text, w.max
	if t.Binary != nil {
		p = string(t.Binary)
	}
	if most == 0 || len(p) <= most {
		return shown(p)
	}
	return shown(cutText(p, most)) + "…"
}

// cutText is the beginning of a text, of so many bytes at most, with no character cut
// in two.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
