package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// The headers of a response, beside bus.HeaderKind and bus.HeaderStatus, which
// mean what they mean in a reply on the bus.
const (
	headerBind         = "Gb-Bind"          // the client's uid from now on
	headerBindOthers   = "Gb-Bind-Others"   // what becomes of the uid's other clients: replace or refuse
	headerUnbind       = "Gb-Unbind"        // true: the client has no uid any more
	headerJoin         = "Gb-Join"          // groups to join, with commas between
	headerLeave        = "Gb-Leave"         // groups to leave, with commas between
	headerSetSession   = "Gb-Set-Session"   // JSON, in place of the client's session
	headerMergeSession = "Gb-Merge-Session" // JSON, merged into it (RFC 7396)
)

const headerPrefix = "Gb-"

// known are all Gb- headers of a response.
var known = []string{
	bus.HeaderKind, bus.HeaderStatus, headerBind, headerBindOthers, headerUnbind,
	headerJoin, headerLeave, headerSetSession, headerMergeSession,
}

// answer is what a response means for its event.
type answer struct {
	reply  bus.Reply
	admit  worker.Admission // of an open event
	change change           // of a text or binary event
	// ignored is a body that has no type, and so is no frame.
	ignored bool
}

// change is what is different about a client afterwards.
type change struct {
	unbind      bool
	bind        string // a uid; "" for none
	others      worker.Others
	join, leave []string
	set, merge  json.RawMessage // nil for none
}

func (c *change) empty() bool {
	return !c.unbind && c.bind == "" && len(c.join) == 0 && len(c.leave) == 0 && c.set == nil && c.merge == nil
}

// readAnswer reads the response to an event of the kind. What it refuses would be
// refused for ever: the receiver has a defect.
func readAnswer(kind worker.Kind, r *response) (*answer, error) {
	if !r.success() {
		if kind == worker.Open && r.status >= 400 && r.status <= 499 {
			return &answer{reply: bus.Reply{Status: bus.Rejected, Code: r.status, Reason: reasonOf(r)}}, nil
		}
		return nil, r.unwanted()
	}
	if kind == worker.Close {
		return &answer{}, nil // the client is gone: nothing can be done to it
	}
	for name := range r.header {
		if strings.HasPrefix(name, headerPrefix) && !slices.Contains(known, name) {
			return nil, fmt.Errorf("the response has the header %s, which means nothing; there are %s", name, strings.Join(known, ", "))
		}
	}
	a := &answer{}
	if err := a.readReply(kind, r); err != nil {
		return nil, err
	}
	if err := a.change.read(r.header); err != nil {
		return nil, err
	}
	if kind == worker.Open {
		return a, a.readAdmission(r)
	}
	return a, nil
}

// readReply reads the frame and the status, as a reply on the bus has them.
func (a *answer) readReply(kind worker.Kind, r *response) error {
	m := &bus.Msg{Header: bus.Header{}}
	if v := r.header.Get(bus.HeaderStatus); v != "" {
		m.Header.Set(bus.HeaderStatus, v)
	}
	named := r.header.Get(bus.HeaderKind)
	if kind.Frame() && len(r.body) > 0 && named == "" {
		var err error
		if named, err = kindOf(r.header.Get("Content-Type")); err != nil {
			return err
		}
		a.ignored = named == ""
	}
	if named != "" {
		m.Header.Set(bus.HeaderKind, named)
	}
	if !a.ignored {
		m.Data = r.body
	}
	reply, err := bus.ParseReply(kind, m)
	switch {
	case err != nil:
		return err
	case reply.Status == bus.Busy || reply.Status == bus.Working:
		return fmt.Errorf("%s %q answers on the bus only; an HTTP server that has no time answers 503 with Retry-After",
			bus.HeaderStatus, r.header.Get(bus.HeaderStatus))
	case reply.Kind == worker.Text && !utf8.Valid(reply.Data):
		return fmt.Errorf("the response's frame is text, but not valid UTF-8; send it as %s", binaryType)
	}
	reply.Reason = bus.TrimReason(reply.Reason)
	a.reply = reply
	return nil
}

// kindOf is the kind of a frame by its content type; "" without one.
func kindOf(contentType string) (string, error) {
	if contentType == "" {
		return "", nil
	}
	t, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter):
	case strings.HasPrefix(t, "text/"), t == jsonType, strings.HasSuffix(t, "+json"):
		return worker.Text.String(), nil
	case t == binaryType:
		return worker.Binary.String(), nil
	}
	return "", fmt.Errorf("the response has the Content-Type %.100q: a frame is text/*, %s or %s, or %s says its kind",
		contentType, jsonType, binaryType, bus.HeaderKind)
}

// readAdmission reads what an accepted client is given: in the body, as a reply on
// the bus has it, and in headers, which win.
func (a *answer) readAdmission(r *response) error {
	if a.reply.Status != bus.Done {
		return nil // it is not accepted
	}
	open, err := bus.ParseOpenReply(r.body)
	if err != nil {
		return err
	}
	a.admit = worker.Admission(open)
	c := &a.change
	switch {
	case c.unbind, len(c.leave) > 0, c.merge != nil:
		return fmt.Errorf("%s, %s and %s answer no open event: the client has nothing yet",
			headerUnbind, headerLeave, headerMergeSession)
	case c.bind != "":
		a.admit.UID, a.admit.Others = c.bind, c.others
	}
	a.admit.Groups = append(a.admit.Groups, c.join...)
	if c.set != nil {
		a.admit.Session = c.set
	}
	a.change = change{}
	return nil
}

// read reads the headers that change a client.
func (c *change) read(header http.Header) error {
	var err error
	if c.bind, err = oneName(header, headerBind); err != nil {
		return err
	}
	if v, ok := header[headerUnbind]; ok {
		if c.unbind, err = strconv.ParseBool(strings.TrimSpace(v[0])); err != nil {
			return fmt.Errorf("%s %.100q: it is true or false", headerUnbind, v[0])
		}
	}
	switch v := header.Get(headerBindOthers); {
	case v != "" && c.bind == "":
		return fmt.Errorf("%s says something about %s, which is not there", headerBindOthers, headerBind)
	case v == "", v == "allow":
	case v == string(worker.ReplaceOthers), v == string(worker.RefuseOthers):
		c.others = worker.Others(v)
	default:
		return fmt.Errorf("%s %.100q: it is allow, %s or %s", headerBindOthers, v, worker.ReplaceOthers, worker.RefuseOthers)
	}
	if c.join, err = names(header, headerJoin); err != nil {
		return err
	}
	if c.leave, err = names(header, headerLeave); err != nil {
		return err
	}
	if c.set, err = sessionOf(header, headerSetSession); err != nil {
		return err
	}
	if c.merge, err = sessionOf(header, headerMergeSession); err != nil {
		return err
	}
	switch {
	case c.unbind && c.bind != "":
		return fmt.Errorf("%s and %s are both there; send one of them", headerBind, headerUnbind)
	case c.set != nil && c.merge != nil:
		return fmt.Errorf("%s and %s are both there; send one of them", headerSetSession, headerMergeSession)
	case c.merge != nil && c.merge[0] != '{':
		return fmt.Errorf("%s: it is a JSON object", headerMergeSession)
	}
	return nil
}

// oneName is the uid that a header names; "" if it is not there.
func oneName(header http.Header, key string) (string, error) {
	v, ok := header[key]
	switch {
	case !ok:
		return "", nil
	case len(v) > 1:
		return "", fmt.Errorf("%s is there %d times; send it once", key, len(v))
	}
	return decodeName(key, v[0])
}

// names are the groups that a header lists; it may be there several times.
func names(header http.Header, key string) ([]string, error) {
	var all []string
	for _, line := range header[key] {
		for v := range strings.SplitSeq(line, ",") {
			name, err := decodeName(key, v)
			if err != nil {
				return nil, err
			}
			all = append(all, name)
		}
	}
	return all, nil
}

// decodeName decodes a percent-encoded uid or group. Other than on the bus, where
// names are part of subjects, only what would be misread must be encoded: percent
// signs, spaces at the ends, in a list commas, and what no header can have.
func decodeName(key, s string) (string, error) {
	s = strings.Trim(s, " \t")
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", fmt.Errorf("%s %.100q: a percent sign is not followed by two hexadecimal digits; send it as %%25", key, s)
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%s %.100q: a percent sign is not followed by two hexadecimal digits; send it as %%25", key, s)
			}
			c = byte(v)
			i += 2
		}
		b = append(b, c)
	}
	name := string(b)
	if err := bus.CheckToken(name); err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return name, nil
}

// sessionOf is the JSON that a header has; nil if it is not there. It is sent as
// it is, on one line: JSON can be written in ASCII.
func sessionOf(header http.Header, key string) (json.RawMessage, error) {
	v, ok := header[key]
	switch {
	case !ok:
		return nil, nil
	case len(v) > 1:
		return nil, fmt.Errorf("%s is there %d times; send it once", key, len(v))
	case len(v[0]) > bus.MaxSession:
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", key, len(v[0]), bus.MaxSession)
	}
	data := bytes.TrimSpace([]byte(v[0]))
	switch {
	case !json.Valid(data):
		return nil, fmt.Errorf("%s %.100q: it is not JSON", key, v[0])
	case !utf8.Valid(data):
		return nil, fmt.Errorf("%s: it is not valid UTF-8", key)
	}
	return data, nil
}

// reasonOf is why a client is refused, for it to read: the first line of a body of
// text, unless that is a page.
func reasonOf(r *response) string {
	t, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(t, "text/") || !utf8.Valid(r.body) {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(r.body)), "\n")
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "<") {
		return ""
	}
	return bus.TrimReason(line)
}
