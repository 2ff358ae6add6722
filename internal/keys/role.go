package keys

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a connection is for; each has a user of its own in NATS. The
// names are part of the key derivation and never change.
type Role string

const (
	RoleRegister    Role = "register"    // a register, on its own server
	RoleGateway     Role = "gateway"     // a gateway, on its bus and on registers
	RoleWorker      Role = "worker"      // a worker, on buses and on registers
	RoleApplication Role = "application" // a program that pushes and commands, and gets no events
	RoleObserver    Role = "observer"    // a person or tool that looks on
)

var roles = []Role{RoleRegister, RoleGateway, RoleWorker, RoleApplication, RoleObserver}

// InboxPrefix is what the subjects begin with on which connections of the role
// get answers. Each role has its own, so that none can read, or guess at, what
// another is answered. That of a worker is the one that every NATS client has
// by default.
func InboxPrefix(r Role) string {
	if r == RoleWorker {
		return "_INBOX"
	}
	return "_INBOX_" + string(r)
}

// Roles returns all roles, in a fixed order.
func Roles() []Role { return slices.Clone(roles) }

// ParseRole returns the role named s, or an error that lists the valid names.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(roles, r) {
		return r, nil
	}
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return "", fmt.Errorf("keys: unknown role %q (one of: %s)", s, strings.Join(names, ", "))
}
