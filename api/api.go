package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

const (
	// Prefix is what the paths of the API begin with.
	Prefix = "/api/v1/"
	// DefaultTimeout is how long gateways are waited for if a request does not say;
	// MinTimeout and MaxTimeout are what it may say.
	DefaultTimeout = 5 * time.Second
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = 30 * time.Second
	// MaxBody is how many bytes a request may have. What a gateway takes of a frame is
	// less: see its max_frame and the NATS server's max_payload.
	MaxBody = 8 << 20
)

// Config is what a Handler is made of.
type Config struct {
	// Cluster is what reaches the clients, nil as long as there is none: requests are
	// answered with 503 then. It is called for each request.
	Cluster func() *worker.Cluster
	// Tokens are the bearer tokens of which a request must have one. Without any, only
	// programs of this machine are served: see the package.
	Tokens []string
}

// Handler is an http.Handler for all paths that begin with [Prefix]. It needs them as
// they were sent: http.ServeMux would redirect some.
type Handler struct {
	cluster func() *worker.Cluster
	keys    atomic.Pointer[keys] // who is let in; SetTokens puts others
	count   *counters
}

// New makes a handler.
func New(cfg Config) *Handler {
	h := &Handler{cluster: cfg.Cluster, count: newCounters()}
	h.SetTokens(cfg.Tokens)
	return h
}

// route is one method of one path.
type route struct {
	method string
	path   string   // segments below Prefix; {name} stands for any
	query  []string // parameters, beside timeout
	alone  bool     // it needs no gateway
	do     func(*call) (any, error)
}

// selectors are the parameters that say which clients are listed.
var paging = []string{"after", "limit"}

// routes are all that there is. The order of paths with as many segments does not
// matter: no two match the same one.
var routes = []route{
	{method: "POST", path: "push", do: push},
	{method: "POST", path: "close", do: closeClients},
	{method: "POST", path: "join", do: join},
	{method: "POST", path: "leave", do: leave},
	{method: "POST", path: "unbind", do: unbind},
	{method: "GET", path: "counts", query: []string{"of", "group"}, do: count},
	{method: "POST", path: "counts", do: counts},
	{method: "GET", path: "clients", query: append([]string{"uid", "group", "fields"}, paging...), do: listClients},
	{method: "GET", path: "clients/{client}", do: getClient},
	{method: "DELETE", path: "clients/{client}", query: []string{"code", "reason", "text", "binary", "abort"}, do: deleteClient},
	{method: "PUT", path: "clients/{client}/uid", do: putUID},
	{method: "DELETE", path: "clients/{client}/uid", do: deleteUID},
	{method: "GET", path: "clients/{client}/groups", do: getGroups},
	{method: "POST", path: "clients/{client}/groups", do: postGroups},
	{method: "PUT", path: "clients/{client}/groups/{group}", do: putGroup},
	{method: "DELETE", path: "clients/{client}/groups/{group}", do: deleteGroupOfClient},
	{method: "GET", path: "clients/{client}/session", do: getSession},
	{method: "PUT", path: "clients/{client}/session", do: putSession},
	{method: "PATCH", path: "clients/{client}/session", do: patchSession},
	{method: "DELETE", path: "clients/{client}/session", do: deleteSession},
	{method: "GET", path: "uids", query: append([]string{"group"}, paging...), do: listUIDs},
	{method: "GET", path: "uids/{uid}", do: getUID},
	{method: "GET", path: "groups", query: paging, do: listGroups},
	{method: "GET", path: "groups/{group}", do: getGroup},
	{method: "DELETE", path: "groups/{group}", do: dissolve},
	{method: "GET", path: "gateways", alone: true, do: listGateways},
	{method: "GET", path: "openapi.yaml", alone: true, do: openapiYAML},
	{method: "GET", path: "openapi.json", alone: true, do: openapiJSON},
}

// call is a request that is being answered.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	cluster *worker.Cluster
	names   map[string]string // of the path
	query   url.Values
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &statusWriter{ResponseWriter: rw}
	route, names, allowed, err := find(r)
	answered := h.count.begin(route)
	defer func() { answered(w.status) }()
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if _, err := h.admit(w, r); err != nil {
		writeProblem(w, err)
		return
	}
	if err == nil {
		err = h.serve(w, r, route, names, allowed)
	}
	if err != nil {
		writeProblem(w, err)
	}
}

// serve answers a request that is let in, by its route. Without one, allowed are the
// methods of its path.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, route *route, names map[string]string, allowed []string) error {
	if route == nil {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return problem(methodNotAllowed, "%s is not among the methods of this path: %s", r.Method, strings.Join(allowed, ", "))
	}
	c := &call{w: w, r: r, cluster: h.cluster(), names: names}
	timeout, err := c.parseQuery(route)
	if err != nil {
		return err
	}
	if !route.alone || strings.HasPrefix(route.path, "gateways") {
		if c.cluster == nil {
			return problem(noGateway, "this process is not connected to the registers yet, or is stopping")
		}
		if !route.alone && len(c.cluster.Gateways()) == 0 {
			return problem(noGateway, "there is no gateway")
		}
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), timeout, timedOut(timeout))
	defer cancel()
	c.ctx = ctx
	// The server's own limit is for those that do not read.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + 10*time.Second)) // a recorder has none
	answer, err := route.do(c)
	return c.write(answer, err)
}

// timedOut is the cause of what took too long; it is a context.DeadlineExceeded.
type timedOut time.Duration

func (t timedOut) Error() string { return fmt.Sprintf("no answer in %v", time.Duration(t)) }

func (timedOut) Is(target error) bool { return target == context.DeadlineExceeded }

// find is the route of a request. Without one, allowed are the methods of its path.
func find(r *http.Request) (found *route, names map[string]string, allowed []string, err error) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
	if !ok {
		return nil, nil, nil, problem(notFound, "the paths of the API begin with %s", Prefix)
	}
	segments := strings.Split(rest, "/")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range routes {
		pattern := strings.Split(routes[i].path, "/")
		if !matches(pattern, segments) {
			continue
		}
		if allowed = append(allowed, routes[i].method); routes[i].method == "GET" {
			allowed = append(allowed, http.MethodHead)
		}
		if routes[i].method == method {
			names, err := namesIn(pattern, segments)
			return &routes[i], names, nil, err
		}
	}
	if allowed == nil {
		return nil, nil, nil, problem(notFound, "there is no such path; %sopenapi.yaml tells which there are", Prefix)
	}
	allowed = append(allowed, http.MethodOptions)
	slices.Sort(allowed)
	return nil, nil, allowed, nil
}

func matches(pattern, segments []string) bool {
	if len(pattern) != len(segments) {
		return false
	}
	for i, p := range pattern {
		if p[0] != '{' && p != segments[i] {
			return false
		}
	}
	return true
}

// namesIn are the names in a path, decoded and checked.
func namesIn(pattern, segments []string) (map[string]string, error) {
	names := map[string]string{}
	for i, p := range pattern {
		if p[0] != '{' {
			continue
		}
		what := strings.Trim(p, "{}")
		name, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, problem(badRequest, "%s: %v", what, err)
		}
		if what == "client" {
			_, _, _, err = bus.ClientID(name).Parts()
		} else {
			err = bus.CheckToken(name)
		}
		if err != nil {
			return nil, problem(badRequest, "%s: %s", what, plain(err))
		}
		names[what] = name
	}
	return names, nil
}
