package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// Problem is an error as RFC 9457 has it: application/problem+json.
type Problem struct {
	// Type is one of a fixed list, for programs: urn:gatebus:problem:….
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what is wrong with this request, for people.
	Detail string `json:"detail"`
	// Missing are the gateways that did not answer, where that is what is wrong.
	Missing []Missing `json:"missing,omitempty"`
}

// Error is the title and the detail.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Missing is a gateway that did not answer, and why.
type Missing struct {
	Gateway bus.GatewayID `json:"gateway"`
	Error   string        `json:"error"`
}

// kind is what problems of a type have in common.
type kind struct {
	name, title string
	status      int
}

// The kinds of problems.
var (
	badRequest       = kind{"bad-request", "The request is wrong", http.StatusBadRequest}
	unauthorized     = kind{"unauthorized", "The request has no right token", http.StatusUnauthorized}
	forbidden        = kind{"forbidden", "The request is not of this machine", http.StatusForbidden}
	notFound         = kind{"not-found", "There is no such path", http.StatusNotFound}
	noClient         = kind{"no-client", "The client is not connected", http.StatusNotFound}
	methodNotAllowed = kind{"method-not-allowed", "The path does not have the method", http.StatusMethodNotAllowed}
	uidTaken         = kind{"uid-taken", "The uid is taken", http.StatusConflict}
	sessionChanged   = kind{"session-changed", "The session has changed", http.StatusPreconditionFailed}
	tooLarge         = kind{"too-large", "The request is too large", http.StatusRequestEntityTooLarge}
	mediaType        = kind{"media-type", "The media type is wrong", http.StatusUnsupportedMediaType}
	overLimit        = kind{"limit", "A limit would be exceeded", http.StatusUnprocessableEntity}
	gatewayFailed    = kind{"gateway-failed", "A gateway failed", http.StatusBadGateway}
	noGateway        = kind{"no-gateway", "No gateway can be reached", http.StatusServiceUnavailable}
	timeout          = kind{"timeout", "No gateway answered in time", http.StatusGatewayTimeout}

	kinds = []kind{
		badRequest, unauthorized, forbidden, notFound, noClient, methodNotAllowed, uidTaken,
		sessionChanged, tooLarge, mediaType, overLimit, gatewayFailed, noGateway, timeout,
	}
)

const typePrefix = "urn:gatebus:problem:"

// problem makes an error of a kind.
func problem(k kind, format string, args ...any) *Problem {
	return &Problem{Type: typePrefix + k.name, Title: k.title, Status: k.status, Detail: fmt.Sprintf(format, args...)}
}

// writeProblem answers with an error.
func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// problemOf is what is to be said of an error.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	var k kind
	partial, _ := errors.AsType[*worker.PartialError](err)
	switch {
	case errors.Is(err, worker.ErrNoClient):
		k = noClient
	case errors.Is(err, worker.ErrUIDTaken):
		k = uidTaken
	case errors.Is(err, worker.ErrSessionChanged):
		k = sessionChanged
	case errors.Is(err, worker.ErrLimit), errors.Is(err, bus.ErrSessionSize):
		k = overLimit
	case errors.Is(err, bus.ErrTooLarge):
		k = tooLarge
	case errors.Is(err, bus.ErrMessage), errors.Is(err, bus.ErrName):
		k = badRequest
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		k = timeout
	case errors.Is(err, worker.ErrNoGateway):
		k = noGateway
	default:
		k = gatewayFailed
	}
	p := problem(k, "%s", plain(err))
	if partial != nil {
		p.Missing = missingOf(partial)
	}
	return p
}

// missingOf lists the gateways that did not answer, by name.
func missingOf(e *worker.PartialError) (all []Missing) {
	for g, err := range e.Missing {
		all = append(all, Missing{g, plain(err)})
	}
	slices.SortFunc(all, func(a, b Missing) int { return strings.Compare(string(a.Gateway), string(b.Gateway)) })
	return all
}

// plain is an error without the names of packages in front.
func plain(err error) string {
	s := err.Error()
	for {
		rest := s
		for _, prefix := range []string{"worker: ", "bus: ", "json: "} {
			rest = strings.TrimPrefix(rest, prefix)
		}
		if rest == s {
			return s
		}
		s = rest
	}
}
