package embedded

import "fmt"

// Stats are the figures of a NATS server, of all its accounts.
type Stats struct {
	Connections      int64 `json:"connections"`       // gauge: of clients, in process and over TCP
	TotalConnections int64 `json:"total_connections"` // of clients, since the start
	Routes           int64 `json:"routes"`            // gauge: connections to other members of the cluster
	Subscriptions    int64 `json:"subscriptions"`     // gauge
	SlowConsumers    int64 `json:"slow_consumers"`    // connections that were ended because they did not take what waited
	InMsgs           int64 `json:"in_msgs"`           // messages that came in, from clients and over routes
	OutMsgs          int64 `json:"out_msgs"`          // messages that went out, one for each that got it
	InBytes          int64 `json:"in_bytes"`          // payload of those
	OutBytes         int64 `json:"out_bytes"`         // payload of those
}

// Stats is a snapshot. The error wraps [ErrNotRunning] if the server does not run.
func (s *Server) Stats() (Stats, error) {
	nats, err := s.running()
	if err != nil {
		return Stats{}, err
	}
	v, err := nats.Varz(nil)
	if err != nil {
		return Stats{}, fmt.Errorf("embedded: stats: %w", err)
	}
	return Stats{
		Connections: int64(v.Connections), TotalConnections: int64(v.TotalConnections),
		Routes: int64(v.Routes), Subscriptions: int64(v.Subscriptions), SlowConsumers: v.SlowConsumers,
		InMsgs: v.InMsgs, OutMsgs: v.OutMsgs, InBytes: v.InBytes, OutBytes: v.OutBytes,
	}, nil
}
