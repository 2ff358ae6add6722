// Package status looks at a whole cluster: who is on the registers, and what each of
// those says about itself. It needs nothing but a connection to a register.
//
// A [Look] is one moment: the list of members of whichever register answers, and the
// figures of each member that answers within [AnswerTime], all asked side by side. One
// that does not answer is there all the same, and says so: it may be dead for less than
// a lease, frozen, cut off, or of a version that has no figures. Rates and recent
// latencies come from two looks ([Compare]).
//
// Members may be of other versions: figures that one does not have are missing, and such
// that this version does not know are ignored.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/latency"
	"github.com/gatebus/gatebus/internal/usage"
	"github.com/gatebus/gatebus/register"
)

const (
	// AnswerTime is how long a member has to answer.
	AnswerTime = time.Second
	// atOnce is how many are asked at the same time.
	atOnce = 128
	// retryPause is the pause before the registers are asked again: one that has just
	// started does not answer for its first second and a half.
	retryPause = 100 * time.Millisecond
)

// Look is a cluster at one moment.
type Look struct {
	At       time.Time
	Register string // that has told who is there
	Members  []Member
}

// Member is one member, and what it says about itself.
type Member struct {
	register.Member
	Figures *figures // nil if it did not answer
	Err     error    // why
}

// figures are what members say about themselves, those of all roles in one: the JSON of
// gateway.Stats and so on, as far as it is shown.
type figures struct {
	Process *usage.Usage `json:"process"`
	NATS    *struct {
		Connections   int64 `json:"connections"`
		Routes        int64 `json:"routes"`
		SlowConsumers int64 `json:"slow_consumers"`
	} `json:"nats"`

	// of a gateway
	Clients       int64 `json:"clients"`
	Waiting       int64 `json:"waiting"`
	InFlight      int64 `json:"in_flight"`
	FramesIn      int64 `json:"frames_in"`
	FramesOut     int64 `json:"frames_out"`
	BytesIn       int64 `json:"bytes_in"`
	BytesOut      int64 `json:"bytes_out"`
	Redelivered   int64 `json:"redelivered"`
	DroppedPoison int64 `json:"dropped_poison"`
	DroppedHold   int64 `json:"dropped_hold"`
	Queues        struct {
		LaneEvents int64   `json:"lane_events"`
		Oldest     float64 `json:"oldest_seconds"`
	} `json:"queues"`
	Workers    map[string]int   `json:"workers"`
	AckLatency latency.Snapshot `json:"ack_latency"`

	// of a worker
	Working        int64            `json:"working"`
	Handled        int64            `json:"handled"`
	Failed         int64            `json:"failed"`
	HandlerLatency latency.Snapshot `json:"handler_latency"`
	Gateways       []link           `json:"gateways"`

	// of both: events handed back
	Busy int64 `json:"busy"`

	// of a register
	Members []json.RawMessage `json:"members"`
	Notices struct {
		Leads   bool `json:"leads"`
		Pending int  `json:"pending"`
	} `json:"notices"`
}

// link is a worker's connection to a gateway, as the worker says.
type link struct {
	Gateway string    `json:"gateway"`
	Epoch   bus.Epoch `json:"epoch"`
	Address string    `json:"address"`
	Up      bool      `json:"up"`
	Working int64     `json:"working"`
	Handled *int64    `json:"handled"` // nil of a version that does not say
}

// Take looks at the cluster over a connection to a register. It asks until a register
// answers or ctx ends; members have [AnswerTime] on top of that.
func Take(ctx context.Context, conn bus.Conn) (Look, error) {
	from, members, err := list(ctx, conn)
	if err != nil {
		return Look{}, err
	}
	look := Look{At: time.Now(), Register: from, Members: make([]Member, len(members))}
	var (
		wg   sync.WaitGroup
		room = make(chan struct{}, atOnce)
	)
	for i, m := range members {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			look.Members[i] = ask(ctx, conn, m)
		})
	}
	wg.Wait()
	return look, nil
}

// list asks the registers who is there.
func list(ctx context.Context, conn bus.Conn) (from string, members []register.Member, err error) {
	for {
		try, cancel := context.WithTimeout(ctx, AnswerTime)
		m, err := conn.Request(try, &bus.Msg{Subject: register.MembersSubject})
		cancel()
		if err == nil {
			if from, members, err = register.ParseMembers(m); err == nil {
				return from, members, nil
			}
		}
		pause := time.NewTimer(retryPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return "", nil, fmt.Errorf("status: who is there: %w (last: %w)", context.Cause(ctx), err)
		}
	}
}

// ask asks a member about itself.
func ask(ctx context.Context, conn bus.Conn, m register.Member) Member {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), AnswerTime)
	defer cancel()
	answer, err := conn.Request(ctx, &bus.Msg{Subject: register.StatsSubject(m.Role, m.Name)})
	if err == nil {
		var f figures
		if err = json.Unmarshal(answer.Data, &f); err == nil {
			return Member{Member: m, Figures: &f}
		}
		err = fmt.Errorf("its figures are not valid: %w", err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer in %v", AnswerTime)
	case errors.Is(err, bus.ErrNoResponders):
		err = errors.New("nobody answers for it")
	}
	return Member{Member: m, Err: err}
}
