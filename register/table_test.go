package register

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gatebus/gatebus/bus"
)

// TestTable replays the transcripts of testdata/table: what several tables, each as
// one register or member sees it, make of the same story. To record them anew
// after a change: go test ./register -run TestTable -rewrite, and read the
// difference.
//
//	at 3s                          the clock
//	announce t=A gateway g1 epoch=7 addr=a:1 [group=x] [clients=y]
//	leave t=A gateway g1 epoch=7
//	extend t=A
//	members t=A [gateway …]
//
// t names the tables that hear it, "t=A,B" both; a table stands from when it
// is first named. Moving the clock expires leases in all tables.
func TestTable(t *testing.T) {
	datadriven.Walk(t, "testdata/table", func(t *testing.T, path string) {
		s := &story{start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), tables: map[string]*Table{}}
		s.now = s.start
		datadriven.RunTest(t, path, s.run)
	})
}

type story struct {
	start, now time.Time
	tables     map[string]*Table
	names      []string // in order of appearance
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	if d.Cmd == "at" {
		at, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		s.now = s.start.Add(at)
		for _, name := range s.names {
			for _, c := range s.tables[name].Expire(s.now) {
				fmt.Fprintf(&out, "%s: %s\n", name, describe(&c))
			}
		}
		return out.String()
	}
	var tables []string
	m := Member{}
	var roles []Role
	for i, a := range d.CmdArgs {
		switch {
		case a.Key == "t":
			tables = a.Vals
		case a.Key == "epoch":
			var e uint64
			a.Scan(t, 0, &e)
			m.Epoch = bus.Epoch(e)
		case a.Key == "addr":
			a.Scan(t, 0, &m.Address)
		case a.Key == "group":
			a.Scan(t, 0, &m.Group)
		case a.Key == "clients":
			a.Scan(t, 0, &m.Clients)
		case d.Cmd == "members" || i == 1:
			m.Role = Role(a.Key)
			roles = append(roles, m.Role)
		case i == 2:
			m.Name = a.Key
		default:
			d.Fatalf(t, "unknown argument %v", a)
		}
	}
	for _, name := range tables {
		table := s.tables[name]
		if table == nil {
			table = NewTable()
			s.tables[name] = table
			s.names = append(s.names, name)
		}
		fmt.Fprintf(&out, "%s: %s\n", name, s.apply(t, d, table, m, roles))
	}
	return out.String()
}

func (s *story) apply(t *testing.T, d *datadriven.TestData, table *Table, m Member, roles []Role) string {
	switch d.Cmd {
	case "announce":
		c, err := table.Announce(s.now, m)
		if err != nil {
			return "refused: " + err.Error()
		}
		return describe(c)
	case "leave":
		return describe(table.Leave(m.Role, m.Name, m.Epoch))
	case "extend":
		table.Extend(s.now)
		return "extended"
	case "members":
		ms := []string{}
		for _, m := range table.Members(roles...) {
			ms = append(ms, show(m))
		}
		if len(ms) == 0 {
			return "nobody"
		}
		return strings.Join(ms, " | ")
	}
	d.Fatalf(t, "unknown command %q", d.Cmd)
	return ""
}

func describe(c *Change) string {
	if c == nil {
		return "no change"
	}
	s := fmt.Sprintf("%s %s", c.Type, show(c.Member))
	if c.Old != nil {
		s += ", was " + show(*c.Old)
	}
	return s
}

func show(m Member) string {
	s := fmt.Sprintf("%s %s epoch=%d addr=%s", m.Role, m.Name, m.Epoch, m.Address)
	if m.Group != "" {
		s += " group=" + m.Group
	}
	if m.Clients != "" {
		s += " clients=" + m.Clients
	}
	return s
}
