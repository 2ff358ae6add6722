package dashboard

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatebus/gatebus/internal/status"
	"github.com/gatebus/gatebus/register"
)

const (
	// maxSamples are 15 minutes of points, five seconds apart.
	maxSamples = 180
	maxNotes   = 200
	// remembered is for how long a member that died is shown.
	remembered = 2 * time.Minute
	// lagging is how long an event may be without a word of its worker.
	lagging = 2.0
)

// The states of a member.
const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateGone     = "gone" // it does not answer, or is off the registers without a goodbye
)

// condition is how a member is.
type condition struct {
	Role  register.Role `json:"role"`
	Name  string        `json:"name"`
	State string        `json:"state"`
	Why   string        `json:"why,omitempty"`
	Since time.Time     `json:"since"` // that it is in this state
	// Listed says that the registers still have it.
	Listed bool `json:"listed"`
}

// sample is a point of the plots; what is not known is nil.
type sample struct {
	N           int64     `json:"n"`
	At          time.Time `json:"at"`
	Connections *int64    `json:"connections"`
	FramesIn    *float64  `json:"in"`
	FramesOut   *float64  `json:"out"`
	P50         *float64  `json:"p50"` // seconds
	P99         *float64  `json:"p99"`
}

// note says that something has changed.
type note struct {
	N    int64         `json:"n"`
	At   time.Time     `json:"at"`
	Role register.Role `json:"role,omitempty"`
	Name string        `json:"name,omitempty"`
	What string        `json:"what"`
	// State is the one that it is in now: for how the note looks.
	State string `json:"state"`
}

// mark says what somebody has seen already.
type mark struct{ samples, notes int64 }

// view is what a page is sent.
type view struct {
	mark mark

	At         time.Time      `json:"at"`     // of the report; zero: there is none
	Report     *status.Report `json:"report"` // nil: no look has succeeded yet
	Error      string         `json:"error,omitempty"`
	Conditions []condition    `json:"conditions"`
	Samples    []sample       `json:"samples"` // newer than the mark
	Notes      []note         `json:"notes"`
}

type member struct {
	role register.Role
	name string
}

// state is what is known of the cluster. Its user locks it.
type state struct {
	last     status.Look // the last that succeeded
	report   *status.Report
	failure  string
	members  map[member]condition
	samples  []sample
	notes    []note
	point    status.Look // of the last sample
	sampled  time.Time
	numbered mark
}

func (s *state) init() { s.members = map[member]condition{} }

// saw takes a look, or that there was none.
func (s *state) saw(now time.Time, look status.Look, err error, between time.Duration) {
	if err != nil {
		if s.failure == "" && s.report != nil {
			s.note(note{At: now, What: "no register answers", State: stateGone})
		}
		s.failure = err.Error()
		if now.Sub(s.sampled) >= between-between/10 { // a gap
			s.sample(sample{At: now})
			s.point, s.sampled = status.Look{}, now
		}
		return
	}
	if s.failure != "" && s.report != nil {
		s.note(note{At: now, What: "a register answers again", State: stateOK})
	}
	first := s.report == nil
	r := status.Compare(s.last, look)
	s.last, s.report, s.failure = look, &r, ""
	s.judge(now, first)
	if now.Sub(s.sampled) < between-between/10 && !s.sampled.IsZero() {
		return
	}
	p := sample{At: now}
	if long := status.Compare(s.point, look); s.point.Members != nil {
		p.Connections, p.FramesIn, p.FramesOut = &long.Total.Connections, long.Total.FramesIn, long.Total.FramesOut
		if l := long.Total.Latency; l != nil && l.Recent {
			p.P50, p.P99 = &l.P50, &l.P99
		}
	}
	s.sample(p)
	s.point, s.sampled = look, now
}

func (s *state) sample(p sample) {
	s.numbered.samples++
	p.N = s.numbered.samples
	s.samples = append(s.samples, p)
	s.samples = s.samples[max(len(s.samples)-maxSamples, 0):]
}

func (s *state) note(n note) {
	s.numbered.notes++
	n.N = s.numbered.notes
	s.notes = append(s.notes, n)
	s.notes = s.notes[max(len(s.notes)-maxNotes, 0):]
}

// judge finds how each member is, and notes what has changed.
func (s *state) judge(now time.Time, first bool) {
	listed := conditions(s.report)
	for key, c := range listed {
		before, known := s.members[key]
		if c.Since = now; known && before.State == c.State && before.Listed {
			c.Since = before.Since
		}
		c.Listed = true
		s.members[key] = c
		switch {
		case first || known && before.State == c.State && (before.Listed || c.State == stateGone):
		case c.State == stateGone:
			s.say(now, c, "does not answer: "+c.Why)
		case !known, !before.Listed && c.State == stateOK:
			s.say(now, c, "joined")
		case c.State == stateOK:
			s.say(now, c, "is well again")
		default:
			s.say(now, c, c.Why)
		}
	}
	for key, c := range s.members {
		if _, there := listed[key]; there {
			continue
		}
		switch {
		case !c.Listed:
			if now.Sub(c.Since) > remembered {
				delete(s.members, key)
			}
		case c.State == stateGone: // it was silent before
			c.Listed, c.Why, c.Since = false, "its lease has ended", now
			s.members[key] = c
			s.say(now, c, "is off the registers: its lease has ended")
		default:
			delete(s.members, key)
			c.State = stateOK
			s.say(now, c, "left")
		}
	}
}

func (s *state) say(now time.Time, c condition, what string) {
	s.note(note{At: now, Role: c.Role, Name: c.Name, What: what, State: c.State})
}

// conditions are how those members are that the registers have.
func conditions(r *status.Report) map[member]condition {
	all := map[member]condition{}
	add := func(role register.Role, c status.Common, degraded string) {
		state := condition{Role: role, Name: c.Name, State: stateOK}
		switch {
		case c.Error != "":
			state.State, state.Why = stateGone, c.Error
		case degraded != "":
			state.State, state.Why = stateDegraded, degraded
		}
		all[member{role, c.Name}] = state
	}
	links, up := map[member]int{}, map[member]int{}
	for _, l := range r.Links {
		for _, end := range []member{{register.RoleWorker, l.Worker}, {register.RoleGateway, l.Gateway}} {
			if links[end]++; l.State == status.LinkUp {
				up[end]++
			}
		}
	}
	broken := func(role register.Role, name string) string {
		key := member{role, name}
		if up[key] == links[key] {
			return ""
		}
		return fmt.Sprintf("%d of %d links up", up[key], links[key])
	}
	for _, m := range r.Registers {
		add(register.RoleRegister, m.Common, "")
	}
	for _, g := range r.Gateways {
		workers := 0
		for _, n := range g.Workers {
			workers += n
		}
		why := broken(register.RoleGateway, g.Name)
		switch {
		case workers == 0:
			why = "no worker"
		case g.Lag != nil && *g.Lag > lagging:
			why = fmt.Sprintf("an event has waited %.1f s for its worker", *g.Lag)
		}
		add(register.RoleGateway, g.Common, why)
	}
	for _, w := range r.Workers {
		add(register.RoleWorker, w.Common, broken(register.RoleWorker, w.Name))
	}
	return all
}

// since is what a page is sent that has seen all up to a mark.
func (s *state) since(m mark) view {
	v := view{
		mark: s.numbered, At: s.last.At, Report: s.report, Error: s.failure,
		Conditions: slices.SortedFunc(maps.Values(s.members), func(a, b condition) int {
			return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name))
		}),
		Samples: []sample{}, Notes: []note{},
	}
	for _, p := range s.samples {
		if p.N > m.samples {
			v.Samples = append(v.Samples, p)
		}
	}
	for _, n := range s.notes {
		if n.N > m.notes {
			v.Notes = append(v.Notes, n)
		}
	}
	return v
}
