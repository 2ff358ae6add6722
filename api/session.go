package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// The session is a resource of its own: its representation is the session itself, and
// its entity tag the version.

func tagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

func getSession(c *call) (any, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := cl.Session(c.ctx)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("ETag", tagOf(s.Version))
	if notModified(c.r, tagOf(s.Version)) {
		return bare(http.StatusNotModified), nil
	}
	if s.Data == nil {
		s.Data = json.RawMessage("null")
	}
	return document{"application/json", append(s.Data, '\n')}, nil
}

// ifMatch is the version that the session must be of, if the request names one.
func (c *call) ifMatch() (version uint64, named bool, err error) {
	values := c.r.Header.Values("If-Match")
	for _, h := range []string{"If-None-Match", "If-Unmodified-Since", "If-Range"} {
		if c.r.Header.Get(h) != "" {
			return 0, false, problem(badRequest, "%s is not understood here; use If-Match", h)
		}
	}
	if len(values) == 0 || len(values) == 1 && strings.TrimSpace(values[0]) == "*" {
		return 0, false, nil
	}
	tag := strings.TrimSpace(values[0])
	if len(values) > 1 || strings.Contains(tag, ",") {
		return 0, false, problem(badRequest, "If-Match: there is more than one tag")
	}
	version, err = strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil || tagOf(version) != tag {
		return 0, false, problem(sessionChanged, "If-Match: %q is not a tag that a session could have", shorten(tag))
	}
	return version, true, nil
}

// setSession changes the session: by always, or if a version is named, to what next makes
// of that one.
func (c *call) setSession(always func(worker.Client) error, next func(worker.Client, uint64) (json.RawMessage, error)) (any, error) {
	version, named, err := c.ifMatch()
	if err != nil {
		return nil, err
	}
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	if !named {
		return nil, always(cl)
	}
	data, err := next(cl, version)
	if err != nil {
		return nil, err
	}
	now, err := cl.SetSessionIf(c.ctx, version, data)
	if err == nil {
		c.w.Header().Set("ETag", tagOf(now.Version))
	}
	return nil, err
}

func putSession(c *call) (any, error) {
	data, err := c.raw("application/json")
	if err != nil {
		return nil, err
	}
	return c.setSession(
		func(cl worker.Client) error { return cl.SetSession(c.ctx, data) },
		func(worker.Client, uint64) (json.RawMessage, error) { return data, nil })
}

func deleteSession(c *call) (any, error) {
	return c.setSession(
		func(cl worker.Client) error { return cl.SetSession(c.ctx, nil) },
		func(worker.Client, uint64) (json.RawMessage, error) { return nil, nil })
}

func patchSession(c *call) (any, error) {
	patch, err := c.raw("application/merge-patch+json")
	if err != nil {
		c.w.Header().Set("Accept-Patch", "application/merge-patch+json")
		return nil, err
	}
	return c.setSession(
		func(cl worker.Client) error { return cl.MergeSession(c.ctx, patch) },
		func(cl worker.Client, version uint64) (json.RawMessage, error) {
			now, err := cl.Session(c.ctx)
			if err != nil {
				return nil, err
			}
			if now.Version != version {
				return nil, problem(sessionChanged, "it is of version %d by now", now.Version)
			}
			merged, err := bus.MergeSession(string(now.Data), patch)
			return json.RawMessage(merged), err
		})
}

// notModified tells whether a GET is answered by the tag alone.
func notModified(r *http.Request, tag string) bool {
	for _, v := range r.Header.Values("If-None-Match") {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
				return true
			}
		}
	}
	return false
}
