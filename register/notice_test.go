package register

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gatebus/gatebus/bus"
)

// TestDown replays the transcripts of testdata/down: what several registers
// make of gateways that die. To record them anew after a change: go test
// ./register -run TestDown -rewrite, and read the difference.
//
//	register A epoch=1 [t=(A,B)]      starts a register; t: who hears it
//	join gateway g1 epoch=7 [group=x] [t=(A,B)]
//	                                  a member that is heard every second
//	silent gateway g1                 is heard no more
//	leave gateway g1 epoch=7          says goodbye
//	crash A                           of a register
//	run 3s                            lets time pass
//	sleep 1m                          the same, while the registers are stopped
//	answer g1 epoch=7 group=x done    of a worker: done, busy, working, failed;
//	                                  nobody: there is none, says the server
//	tell A [t=B]                      A tells the others what it has pending
//	pending                           prints it
//
// t names the registers that hear it, all if it is not there.
func TestDown(t *testing.T) {
	datadriven.Walk(t, "testdata/down", func(t *testing.T, path string) {
		s := &downStory{t: t, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		s.now = s.start
		datadriven.RunTest(t, path, s.run)
	})
}

type downStory struct {
	t          *testing.T
	start, now time.Time
	registers  []*downRegister
	members    []*downMember
	out        strings.Builder
}

type downRegister struct {
	name  string
	state *state
}

type downMember struct {
	Member
	heard func(name string) bool // by which registers
}

func (s *downStory) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	var words, hear []string
	m := Member{}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "t":
			hear = a.Vals
		case "epoch":
			var e uint64
			a.Scan(t, 0, &e)
			m.Epoch = bus.Epoch(e)
		case "group":
			a.Scan(t, 0, &m.Group)
		default:
			words = append(words, a.Key)
		}
	}
	heard := func(name string) bool { return len(hear) == 0 || slices.Contains(hear, name) }
	switch d.Cmd {
	case "register":
		m.Role, m.Name, m.Address = RoleRegister, words[0], words[0]+":4222"
		s.registers = append(s.registers, &downRegister{words[0], newState(m)})
		s.join(&downMember{m, heard})
	case "join":
		m.Role, m.Name, m.Address = Role(words[0]), words[1], words[1]+":8300"
		s.silence(m.Role, m.Name)
		s.join(&downMember{m, heard})
	case "silent":
		s.silence(Role(words[0]), words[1])
	case "leave":
		m.Role, m.Name, m.Address = Role(words[0]), words[1], words[1]+":8300"
		s.silence(m.Role, m.Name)
		s.each(heard, func(r *downRegister) { r.state.leave(s.now, &m) })
	case "crash":
		s.silence(RoleRegister, words[0])
		s.registers = slices.DeleteFunc(s.registers, func(r *downRegister) bool { return r.name == words[0] })
	case "run":
		d, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		s.pass(d)
	case "sleep":
		d, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(d)
		s.each(heard, func(r *downRegister) { r.state.pause(s.now) })
	case "answer":
		k := noticeKey{life{bus.GatewayID(words[0]), m.Epoch}, m.Group}
		s.each(heard, func(r *downRegister) { s.answer(r.state.notices, k, words[1]) })
	case "tell":
		s.each(func(name string) bool { return name == words[0] }, func(from *downRegister) {
			list := from.state.notices.tell(s.now)
			s.each(heard, func(r *downRegister) {
				for _, k := range r.state.told(s.now, list) {
					s.printf("%s answers for %s", r.name, showKey(k))
				}
			})
		})
	case "pending":
		s.each(heard, func(r *downRegister) {
			for _, p := range r.state.notices.inOrder() {
				s.printf("%s has %s tries=%d", r.name, showKey(p.key), p.tries)
			}
		})
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return s.out.String()
}

func (s *downStory) answer(n *notices, k noticeKey, what string) {
	if what == "nobody" {
		n.nobody(s.now, k)
		return
	}
	status, ok := map[string]bus.Status{"done": bus.Done, "busy": bus.Busy, "working": bus.Working, "failed": bus.Rejected}[what]
	if !ok {
		s.t.Fatalf("unknown answer %q", what)
	}
	n.answered(s.now, k, status)
}

// printf prints a line, with the time in the story.
func (s *downStory) printf(format string, args ...any) {
	fmt.Fprintf(&s.out, "%v "+format+"\n", append([]any{s.now.Sub(s.start)}, args...)...)
}

func (s *downStory) each(heard func(string) bool, fn func(*downRegister)) {
	for _, r := range s.registers {
		if heard(r.name) {
			fn(r)
		}
	}
}

func (s *downStory) join(m *downMember) {
	s.members = append(s.members, m)
	s.announce(m)
}

func (s *downStory) announce(m *downMember) {
	s.each(m.heard, func(r *downRegister) {
		_, wrong, err := r.state.announce(s.now, m.Member)
		if err != nil {
			s.printf("%s refuses %s %s", r.name, m.Role, m.Name)
		}
		if wrong > 0 {
			s.printf("%s drops %d: %s is alive", r.name, wrong, m.Name)
		}
	})
}

func (s *downStory) silence(role Role, name string) {
	s.members = slices.DeleteFunc(s.members, func(m *downMember) bool { return m.Role == role && m.Name == name })
}

// pass lets time pass as it does in a Server.
func (s *downStory) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(expireInterval)
		if s.now.Sub(s.start)%Heartbeat == 0 {
			for _, m := range s.members {
				s.announce(m)
			}
		}
		for _, r := range s.registers {
			led := r.state.notices.leads
			changes, send, lost := r.state.step(s.now)
			for _, c := range changes {
				s.printf("%s: %s %s %s", r.name, c.Type, c.Member.Role, c.Member.Name)
			}
			if r.state.notices.leads != led {
				s.printf("%s: leads %v", r.name, !led)
			}
			for _, p := range send {
				s.printf("%s asks %s, try %d", r.name, showKey(p.key), p.tries+1)
			}
			for _, p := range lost {
				s.printf("%s gives up %s after %d tries", r.name, showKey(p.key), p.tries)
			}
		}
	}
}

func showKey(k noticeKey) string {
	return fmt.Sprintf("%s about %s epoch=%d", k.group, k.gateway, k.epoch)
}
