// Package otherversion has gatebus speak its protocol as a version does that is not there:
// the one before, the next one, and one of another major. So a cluster of several versions
// can be tried with what is in the tree alone. The command does so if it is built with the
// tag gatebus_otherversion and finds one of the [Names] in [Env]; no release is.
//
// What the next one says can all be ignored, and whoever takes notice of it is broken:
// each JSON object has a field, each message a header and each part of a batch an
// extension that nobody knows, and there is an operation that nobody knows. The one
// before knows neither batches nor names, says no version, and less of a client that
// connects.
package otherversion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// Env is the variable with the name of a version.
const Env = "GATEBUS_TEST_OTHER_VERSION"

// The versions, by name.
const (
	Previous = "previous"
	Next     = "next"
	Foreign  = "foreign" // of another major
)

// Names are those of all.
func Names() []string { return []string{Previous, Next, Foreign} }

// Get is the version of a name, for [bus.Emulate]; nil, for what this program is, if the
// name is empty.
func Get(name string) (*bus.Emulation, error) {
	major, minor, err := bus.CurrentProtocol().Numbers()
	if err != nil {
		return nil, err
	}
	version := func(major, minor int) bus.Protocol { return bus.Protocol(fmt.Sprintf("%d.%d", major, minor)) }
	as := func(m *bus.Msg) []*bus.Msg { return []*bus.Msg{m} }
	all := func(string) bool { return true }
	switch name {
	case "":
		return nil, nil
	case Previous:
		// 1.0, which does not say so.
		return &bus.Emulation{Sent: previous, Subscribed: func(s string) bool { return !isNew(s) }}, nil
	case Next:
		return &bus.Emulation{Protocol: version(major, minor+1), Batches: true, Sent: next, Subscribed: all}, nil
	case Foreign:
		return &bus.Emulation{Protocol: version(major+1, 0), Batches: true, Sent: as, Subscribed: all}, nil
	}
	return nil, fmt.Errorf("otherversion: %s=%q: it is one of %v", Env, name, Names())
}

// isNew tells whether a subject is of what 1.1 has added.
func isNew(subject string) bool { return bus.IsBatch(subject) || bus.IsNames(subject) }

// previous is what the version before sends in the place of a message.
func previous(m *bus.Msg) []*bus.Msg {
	_, op, err := bus.ParseCommandSubject(m.Subject)
	switch {
	case isNew(m.Subject) || err == nil && op == bus.OpNames:
		return nil
	case err == nil && op == bus.OpHello:
		return []*bus.Msg{{Subject: m.Subject, Reply: m.Reply}}
	case strings.HasSuffix(m.Subject, "."+bus.Open.String()):
		return []*bus.Msg{{Subject: m.Subject, Reply: m.Reply, Header: m.Header, Data: lessOfOpen(m.Data)}}
	}
	return []*bus.Msg{m}
}

// lessOfOpen is the payload of an open event without what came to it in time.
func lessOfOpen(data []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	for _, name := range []string{"proxy", "listener", "protocol", "claims"} {
		delete(fields, name)
	}
	less, err := json.Marshal(fields)
	if err != nil {
		return data
	}
	return less
}

// next is what the next version sends in the place of a message.
func next(m *bus.Msg) []*bus.Msg {
	n := *m
	if n.Header = maps.Clone(m.Header); n.Header == nil {
		n.Header = bus.Header{}
	}
	n.Header["Gb-New-In-Next"] = []string{"something new"}
	switch {
	case bus.IsBatch(m.Subject):
		n.Data = moreEvents(m.Data)
	case bus.IsReplies(m.Subject):
		n.Data = moreReplies(m.Data)
	case bus.IsNames(m.Subject):
		n.Data = moreNames(m.Subject, m.Data)
	case isJSON(m.Subject):
		n.Data = moreFields(m.Data)
	}
	sent := []*bus.Msg{&n}
	if g, op, err := bus.ParseCommandSubject(m.Subject); err == nil && op == bus.OpHello {
		sent = append(sent, &bus.Msg{Subject: bus.CommandSubject(g, "new_in_next"), Data: []byte(`{"all":true}`)})
	}
	return sent
}

// isJSON tells whether what is published on a subject is not a client's frame.
func isJSON(subject string) bool {
	for _, prefix := range []string{"reg.", "_INBOX"} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	if _, _, seq, err := bus.ParseReplySubject(subject); err == nil {
		return seq == 1 // that of the open event
	}
	return bus.IsCommand(subject) || bus.IsHeld(subject) ||
		strings.HasSuffix(subject, "."+bus.Open.String()) || strings.HasSuffix(subject, "."+bus.Close.String())
}

// moreFields adds a field to an object, and to each member of a list of the registers.
func moreFields(data []byte) []byte {
	rest, ok := bytes.CutPrefix(data, []byte("{"))
	if !ok || !json.Valid(data) {
		return data
	}
	const field = `{"new_in_next":{"of":["all"]}`
	if !bytes.HasPrefix(rest, []byte("}")) {
		rest = append([]byte(","), rest...)
	}
	rest = bytes.ReplaceAll(rest, []byte(`{"role":`), []byte(field+`,"role":`))
	return append([]byte(field), rest...)
}

// number is that of an extension that nobody knows.
const number = 31

var extension = []byte("something new")

func moreEvents(data []byte) []byte {
	epoch, rest, err := bus.BatchEpoch(data)
	more := bus.BeginBatch(nil, epoch)
	for err == nil && len(rest) > 0 {
		var e bus.BatchEvent
		if e, rest, err = bus.NextEvent(rest); err == nil {
			if !e.Kind.Frame() {
				e.Data = moreFields(e.Data)
			}
			more = e.Append(bus.AppendEventExtension(more, number, extension))
		}
	}
	return unless(err, more)
}

func moreReplies(data []byte) []byte {
	epoch, rest, err := bus.BatchEpoch(data)
	more := bus.BeginBatch(nil, epoch)
	for err == nil && len(rest) > 0 {
		var r bus.BatchReply
		if r, rest, err = bus.NextReply(rest); err == nil {
			if r.Seq == 1 {
				r.Data = moreFields(r.Data)
			}
			more = r.Append(bus.AppendReplyExtension(more, number, extension))
		}
	}
	return unless(err, more)
}

func moreNames(subject string, data []byte) []byte {
	to, err := bus.ParseNamesSubject(subject)
	if err != nil {
		panic(err)
	}
	epoch, rest, err := bus.BatchEpoch(data)
	more := bus.BeginBatch(nil, epoch)
	if err == nil && to != "" {
		var request uint64
		request, rest, err = bus.NamesRequestOf(rest)
		more = bus.BeginNames(more, request)
	}
	for err == nil && len(rest) > 0 {
		var c bus.NameChange
		var end bool
		if c, end, rest, err = bus.NextName(rest); err == nil {
			more = bus.AppendNamesExtension(more, extension)
			if end {
				more = bus.AppendNamesEnd(more)
			} else {
				more = c.Append(more)
			}
		}
	}
	return unless(err, more)
}

// unless is the data, which is made of what this program has made itself.
func unless(err error, data []byte) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
