package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatebus/gatebus/bus"
)

// Groups are the worker groups that the gateway serves, each once: Group, and then
// the others in order.
func (c *Config) Groups() []string {
	others := map[string]struct{}{}
	for _, g := range c.Paths {
		others[g] = struct{}{}
	}
	for _, l := range c.Listeners {
		if l.Group != "" {
			others[l.Group] = struct{}{}
		}
	}
	delete(others, c.Group)
	return append([]string{c.Group}, slices.Sorted(maps.Keys(others))...)
}

// checkPaths names what is wrong with the paths, in order.
func (c *Config) checkPaths(bad func(key, format string, args ...any)) {
	for _, path := range slices.Sorted(maps.Keys(c.Paths)) {
		key := "paths." + path
		if err := checkPath(path); err != nil {
			bad(key, "%w", err)
		}
		if err := bus.CheckName(c.Paths[path]); err != nil {
			bad(key, "the worker group: %w", err)
		}
	}
}

func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("a path begins with /, such as /chat")
	case path != "/" && strings.HasSuffix(path, "/"):
		return fmt.Errorf("write %s: what is below it is meant too", strings.TrimRight(path, "/"))
	case strings.ContainsAny(path, "?#"):
		return errors.New("a path has no ? and no #; write what is before them")
	}
	return nil
}

// route says to which worker group a path leads, and what is below it.
type route struct{ path, group string }

// routesOf are the paths of a configuration, the longest first.
func routesOf(paths map[string]string) []route {
	var routes []route
	for path, group := range paths {
		routes = append(routes, route{path, group})
	}
	slices.SortFunc(routes, func(a, b route) int { return cmp.Compare(len(b.path), len(a.path)) })
	return routes
}

// matches tells whether a request's path is the route's, or one below it.
func (r route) matches(path string) bool {
	rest, ok := strings.CutPrefix(path, r.path)
	return ok && (rest == "" || rest[0] == '/' || r.path == "/")
}

// groupFor is the worker group of the clients of a listener that ask for a path.
func (g *Gateway) groupFor(l *listener, path string) string {
	if l.cfg.Group != "" {
		return l.cfg.Group
	}
	for _, r := range g.routes {
		if r.matches(path) {
			return r.group
		}
	}
	return g.config().Group
}
