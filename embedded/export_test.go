package embedded

import "github.com/nats-io/nats-server/v2/server"

// NumRoutes returns how many routes have passed authentication.
func (s *Server) NumRoutes() int {
	nats, err := s.running()
	if err != nil {
		return 0
	}
	return nats.NumRoutes()
}

// SystemUser returns the credentials of the system user.
func (s *Server) SystemUser() (public string, sign func([]byte) ([]byte, error)) {
	public, _ = s.system.PublicKey()
	return public, s.system.Sign
}

// Options returns the options of NATS.
func (s *Server) Options() (*server.Options, error) { return s.options() }

// MaxPending is how much may wait for one connection, in bytes.
const MaxPending = maxPending
