package configs

import "slices"

// Role is a part that a host can play: the name of its section.
type Role string

// The roles.
const (
	RoleRegister Role = "register"
	RoleGateway  Role = "gateway"
	RoleWorker   Role = "worker"
	RoleAPI      Role = "api"
)

// AllRoles lists the roles in the order in which a host starts them.
func AllRoles() []Role { return []Role{RoleRegister, RoleGateway, RoleWorker, RoleAPI} }

// Roles lists the roles of this host, in the order in which to start them.
func (c *Config) Roles() []Role {
	var roles []Role
	if c.Register != nil {
		roles = append(roles, RoleRegister)
	}
	if c.Gateway != nil {
		roles = append(roles, RoleGateway)
	}
	if c.Worker != nil {
		roles = append(roles, RoleWorker)
	}
	if c.API != nil {
		roles = append(roles, RoleAPI)
	}
	return roles
}

// Require returns an [Error] unless the host has all these roles, and at least
// one role at all.
func (c *Config) Require(roles ...Role) error {
	var ps problems
	have := c.Roles()
	if len(have) == 0 && len(roles) == 0 {
		ps.add(Origin{File: c.file}, "", "there is no role to run; add a section register:, gateway:, worker: or api:")
	}
	for _, r := range roles {
		if !slices.Contains(have, r) {
			ps.add(Origin{File: c.file}, string(r), "there is no such section; add a line %q", string(r)+":")
		}
	}
	return ps.err()
}

// Only removes the roles that are not in roles. It is a step of its own after
// [Load], since a role that does not run here may still say where the register
// of this host is.
func (c *Config) Only(roles ...Role) {
	if !slices.Contains(roles, RoleRegister) {
		c.Register = nil
	}
	if !slices.Contains(roles, RoleGateway) {
		c.Gateway = nil
	}
	if !slices.Contains(roles, RoleWorker) {
		c.Worker = nil
	}
	if !slices.Contains(roles, RoleAPI) {
		c.API = nil
	}
}
