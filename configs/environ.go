package configs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "GATEBUS_"

// EnvName is the environment variable of a key: GATEBUS_GATEWAY__BUS__LISTEN
// for gateway.bus.listen.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// byEnv finds a key by its variable.
var byEnv = func() map[string]*key {
	m := make(map[string]*key, len(byPath))
	for path, k := range byPath {
		m[EnvName(path)] = k
	}
	return m
}()

// environLayer reads the variables of an environment that begin with GATEBUS_.
// The last one of a name counts.
func environLayer(environ []string) (layer, problems) {
	l := newLayer()
	var ps problems
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, envPrefix+"TEST_") || serviceLink(name, value) {
			continue
		}
		o := Origin{Env: name}
		k := byEnv[name]
		if k == nil {
			ps.add(o, "", "%w", unknownVariable(name))
			continue
		}
		if err := l.set(k, value, o); err != nil {
			ps.add(o, k.path, "%w", err)
		}
	}
	return l, ps
}

func unknownVariable(name string) error {
	var names []string
	for n, k := range byEnv {
		if k.kind != section {
			names = append(names, n)
		}
	}
	slices.Sort(names) // the same suggestion each time
	// The prefix is right already: it must not count as likeness.
	for i, n := range names {
		names[i] = strings.TrimPrefix(n, envPrefix)
	}
	if s := nearest(strings.TrimPrefix(name, envPrefix), names); s != "" {
		return fmt.Errorf("unknown variable; did you mean %s%s?", envPrefix, s)
	}
	return fmt.Errorf("unknown variable; unset it, or write a key in capitals with __ between its parts, such as %s", EnvName("gateway.listen"))
}

var serviceLinkName = regexp.MustCompile(`^GATEBUS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// serviceLink tells whether a variable is one of those that Kubernetes sets in
// every pod beside a service named gatebus or gatebus-something, such as
// GATEBUS_PORT=tcp://10.0.0.7:8282. They are nobody's spelling mistakes.
func serviceLink(name, value string) bool {
	if !serviceLinkName.MatchString(name) || byEnv[name] != nil {
		return false
	}
	return !strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_SERVICE_") ||
		strings.Contains(value, "://") || strings.Contains(name, "_PORT_")
}
