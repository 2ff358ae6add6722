package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// parseQuery reads the query. An unknown parameter is an error: without it, the request
// would mean more than was meant.
func (c *call) parseQuery(route *route) (timeout time.Duration, err error) {
	if c.query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return 0, problem(badRequest, "the query: %v", err)
	}
	for name, values := range c.query {
		switch {
		case name != "timeout" && !slices.Contains(route.query, name):
			known := append(slices.Clone(route.query), "timeout")
			return 0, problem(badRequest, "the query has %q, which is not among the parameters of this path: %s", shorten(name), strings.Join(known, ", "))
		case len(values) > 1 && name != "uid":
			return 0, problem(badRequest, "the query has %q more than once", name)
		}
		for _, v := range values {
			if !utf8.ValidString(v) {
				return 0, problem(badRequest, "%s: %q is not valid UTF-8", name, shorten(v))
			}
		}
	}
	text := c.query.Get("timeout")
	if text == "" && !c.query.Has("timeout") {
		return DefaultTimeout, nil
	}
	if timeout, err = time.ParseDuration(text); err != nil || timeout < MinTimeout || timeout > MaxTimeout {
		return 0, problem(badRequest, "timeout: %q is not a duration from %v to %v, such as 2s", shorten(text), MinTimeout, MaxTimeout)
	}
	return timeout, nil
}

// name is a uid or group in the query, "" if it is not there.
func (c *call) name(parameter string) (string, error) {
	if !c.query.Has(parameter) {
		return "", nil
	}
	name := c.query.Get(parameter)
	if err := bus.CheckToken(name); err != nil {
		return "", problem(badRequest, "%s: %s", parameter, plain(err))
	}
	return name, nil
}

// limit is how many items a page is to have.
func (c *call) limit() (int, error) {
	if !c.query.Has("limit") {
		return bus.DefaultPage, nil
	}
	n, err := strconv.Atoi(c.query.Get("limit"))
	if err != nil || n < 1 || n > bus.MaxPage {
		return 0, problem(badRequest, "limit: %q is not a number from 1 to %d", shorten(c.query.Get("limit")), bus.MaxPage)
	}
	return n, nil
}

// raw reads the body, which must be of that media type.
func (c *call) raw(media string) ([]byte, error) {
	got, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || got != media {
		return nil, problem(mediaType, "the Content-Type is %q; it must be %s", shorten(c.r.Header.Get("Content-Type")), media)
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return nil, problem(mediaType, "a Content-Encoding is not understood")
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, MaxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, problem(tooLarge, "it has more than %d bytes", MaxBody)
	}
	if err != nil {
		return nil, problem(badRequest, "the body cannot be read: %v", err)
	}
	if err := bus.CheckJSON(data); err != nil {
		return nil, problem(badRequest, "the body: %v", err)
	}
	if !json.Valid(data) {
		return nil, problem(badRequest, "the body is not JSON: %s", syntaxOf(data))
	}
	return data, nil
}

// syntaxOf says what is wrong with JSON.
func syntaxOf(data []byte) string {
	if len(bytes.TrimSpace(data)) == 0 {
		return "it is empty"
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return plain(err)
	}
	return "it is more than one value"
}

// body reads a JSON object into v.
func (c *call) body(v any) error {
	data, err := c.raw("application/json")
	if err != nil {
		return err
	}
	if data = bytes.TrimSpace(data); data[0] != '{' {
		return problem(badRequest, "the body is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return problem(badRequest, "the body: %s", plain(err))
	}
	return nil
}

// answer is what may lack what some gateways did not tell.
type answer interface{ lacks([]Missing) }

// Incomplete is part of each answer that is made of those of several gateways.
type Incomplete struct {
	// Missing are the gateways that did not answer; the status is 207 then, and else
	// there are none.
	Missing []Missing `json:"missing,omitempty"`
}

func (i *Incomplete) lacks(m []Missing) { i.Missing = m }

// write answers with v, or with an error. A *PartialError beside v makes the answer
// one that lacks something, unless all are missing.
func (c *call) write(v any, err error) error {
	status := http.StatusOK
	if err != nil {
		partial, isPartial := errors.AsType[*worker.PartialError](err)
		a, can := v.(answer)
		if !isPartial || !can || problemOf(err).Status < 500 || len(partial.Missing) >= len(c.cluster.Gateways()) {
			return err
		}
		status = http.StatusMultiStatus
		a.lacks(missingOf(partial))
	}
	if v == nil {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	switch v := v.(type) {
	case bare:
		c.w.WriteHeader(int(v))
	case document:
		c.w.Header().Set("Content-Type", v.media)
		_, _ = c.w.Write(v.data) // the asker is gone
	default:
		writeJSON(c.w, status, "application/json", v)
	}
	return nil
}

// bare is an answer of nothing but a status.
type bare int

// document is an answer that is text already.
type document struct {
	media string
	data  []byte
}

func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the asker is gone
}
