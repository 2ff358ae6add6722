package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxWidth is how many columns the tables take at most: that of a terminal, or of a
// page that they are pasted into.
const maxWidth = 100

// WriteText writes the report as tables for people, at most 100 columns wide. With
// links, every link of every worker is there; else only what is not up.
func (r *Report) WriteText(w io.Writer, links bool) error {
	var b strings.Builder
	r.head(&b)
	r.registers(&b)
	r.gateways(&b)
	r.workers(&b)
	r.links(&b, links)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s, %s, %s; %s", plural(len(r.Registers), "register"), plural(len(r.Gateways), "gateway"),
		plural(len(r.Workers), "worker"), plural(int(r.Total.Connections), "client"))
	if t := r.Total; t.FramesIn != nil {
		fmt.Fprintf(b, "; %s frames/s in, %s out", count(*t.FramesIn), count(deref(t.FramesOut)))
	}
	if l := r.Total.Latency; l != nil {
		fmt.Fprintf(b, "; p99 %s", short(l.P99))
	}
	fmt.Fprintf(b, "\nat %s, as %s knows", r.At.Format(time.TimeOnly), clip(r.Register, 24))
	if n := r.Total.Silent; n > 0 {
		fmt.Fprintf(b, "; %s not answer", strings.Replace(plural(n, "member")+" do", "1 member do", "1 member does", 1))
	}
	b.WriteString("\n")
	r.protocols(b)
}

// protocols says who speaks another version of the protocol than the register that was
// asked.
func (r *Report) protocols(b *strings.Builder) {
	type speakers struct {
		names   []string
		foreign bool
	}
	ours, others := "", map[string]*speakers{}
	each := func(c Common) {
		s := others[c.Protocol]
		if s == nil {
			s = &speakers{foreign: c.Incompatible}
			others[c.Protocol] = s
		}
		s.names = append(s.names, clip(c.Name, nameWidth))
	}
	for _, m := range r.Registers {
		if each(m.Common); m.Name == r.Register {
			ours = m.Protocol
		}
	}
	for _, m := range r.Gateways {
		each(m.Common)
	}
	for _, m := range r.Workers {
		each(m.Common)
	}
	if ours == "" && len(others) < 2 {
		return
	}
	delete(others, ours)
	for _, p := range slices.Sorted(maps.Keys(others)) {
		s := others[p]
		line := strings.Replace(plural(len(s.names), "member")+" speak", "1 member speak", "1 member speaks", 1) + " protocol " + clip(p, versionWidth)
		if s.foreign {
			line += ", which does not go with this one"
		}
		b.WriteString(clip(line+": "+strings.Join(s.names, ", "), maxWidth) + "\n")
	}
}

// Widths of the columns of text, at most.
const (
	nameWidth    = 12
	versionWidth = 8
	groupWidth   = 12
)

func (r *Report) registers(b *strings.Builder) {
	t := newTable("REGISTER", "VERSION", ">UP", ">CPU", ">MEM", ">MEMBERS", ">CONNS", ">ROUTES", ">SLOW", ">PENDING", "")
	for _, m := range r.Registers {
		leads := ""
		if deref(m.Leads) {
			leads = "leads"
		}
		t.member(m.Common, whole(m.Members), whole(m.Connections), whole(m.Routes), whole(m.Slow), whole(m.Pending), leads)
	}
	t.write(b)
}

func (r *Report) gateways(b *strings.Builder) {
	t := newTable("GATEWAY", "VERSION", ">UP", ">CPU", ">MEM", ">WRK", ">CONNS", ">IN/s", ">OUT/s", ">P50", ">P99", ">FLY", ">WAIT", ">LAG", ">AGAIN", ">DROP")
	for _, m := range r.Gateways {
		workers := "-"
		if m.Workers != nil {
			n := 0
			for _, in := range m.Workers {
				n += in
			}
			workers = fmt.Sprint(n)
		}
		t.member(m.Common, workers, whole(m.Connections), number(m.FramesIn), number(m.FramesOut), p50(m.Latency), p99(m.Latency),
			whole(m.InFlight), whole(m.Queued), span(m.Lag), whole(m.Redelivered), whole(m.Dropped))
	}
	t.write(b)
}

func (r *Report) workers(b *strings.Builder) {
	t := newTable("WORKER", "VERSION", ">UP", ">CPU", ">MEM", "GROUP", ">LINKS", ">EVENTS/s", ">P50", ">P99", ">WORK", ">BUSY", ">FAIL")
	for _, m := range r.Workers {
		up := "-"
		if m.Up != nil {
			up = fmt.Sprintf("%d/%d", *m.Up, len(r.Gateways))
		}
		t.member(m.Common, clip(m.Group, groupWidth), up, number(m.Events), p50(m.Latency), p99(m.Latency),
			whole(m.Working), whole(m.Busy), whole(m.Failed))
	}
	t.write(b)
}

func (r *Report) links(b *strings.Builder, all bool) {
	t := newTable("LINK", "TO", "ADDRESS", "STATE", ">EVENTS")
	up := 0
	for _, l := range r.Links {
		if l.State == LinkUp {
			if up++; !all {
				continue
			}
		}
		t.row(clip(l.Worker, 2*nameWidth), clip(l.Gateway, 2*nameWidth), clip(l.Address, 32), l.State, count(float64(l.Events)))
	}
	if !all && len(r.Links) > 0 {
		fmt.Fprintf(b, "\n%d of %s up\n", up, plural(len(r.Links), "link"))
	}
	t.write(b)
}

// table lays out rows in columns that are as wide as what is in them.
type table struct {
	heads []string
	right []bool // the column is aligned to the right
	rows  [][]string
}

// newTable makes a table; the heads of columns that are aligned to the right begin
// with >.
func newTable(heads ...string) *table {
	t := &table{}
	for _, h := range heads {
		name, right := strings.CutPrefix(h, ">")
		t.heads, t.right = append(t.heads, name), append(t.right, right)
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// member adds the row of a member: what all have, and the rest; of one that does not
// answer, why.
func (t *table) member(c Common, rest ...string) {
	name, version := clip(c.Name, nameWidth), clip(c.Version, versionWidth)
	if c.Error != "" {
		t.row(name, version, "\x00"+c.Error)
		return
	}
	up := "-"
	if c.Uptime != nil {
		up = age(*c.Uptime)
	}
	mem := "-"
	if c.Memory != nil {
		mem = bytes(*c.Memory)
	}
	cpu := "-"
	if c.CPU != nil {
		cpu = fmt.Sprintf("%.2f", *c.CPU)
		if *c.CPU >= 9.995 {
			cpu = count(*c.CPU)
		}
	}
	t.row(append([]string{name, version, up, cpu, mem}, rest...)...)
}

// write writes the table, if it has rows, with an empty line before it.
func (t *table) write(b *strings.Builder) {
	if len(t.rows) == 0 {
		return
	}
	widths := make([]int, len(t.heads))
	total := 0
	for i, h := range t.heads {
		widths[i] = utf8.RuneCountInString(h)
		for _, row := range t.rows {
			if i < len(row) && !strings.HasPrefix(row[i], "\x00") {
				widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
			}
		}
		total += widths[i]
	}
	gap := 2
	if total+gap*(len(widths)-1) > maxWidth {
		gap = 1
	}
	b.WriteString("\n")
	for _, row := range append([][]string{t.heads}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString(strings.Repeat(" ", gap))
			}
			if why, ok := strings.CutPrefix(cell, "\x00"); ok { // over all that follow
				line.WriteString(clip("does not answer: "+why, maxWidth-utf8.RuneCountInString(line.String())))
				continue
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// clip makes a text short enough, and fit to be shown: it may come from anybody who can
// speak to a register.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	if s == "" {
		return "-"
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func whole[T int | int64](p *T) string {
	if p == nil {
		return "-"
	}
	return count(float64(*p))
}

func number(p *float64) string {
	if p == nil {
		return "-"
	}
	return count(*p)
}

// scaled is a number in at most five columns, with a unit for each factor.
func scaled(v, factor float64, units ...string) string {
	for i, unit := range units {
		switch {
		case v < 9.995 && i > 0:
			return fmt.Sprintf("%.1f%s", v, unit)
		case v < 999.5 || i == len(units)-1:
			return fmt.Sprintf("%.0f%s", v, unit)
		}
		v /= factor
	}
	return ""
}

func count(v float64) string {
	if v > 0 && v < 9.995 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f", v)
	}
	return scaled(v, 1000, "", "k", "M", "G", "T")
}

func bytes(n int64) string { return scaled(float64(n), 1024, "", "K", "M", "G", "T") }

func p50(l *Latency) string {
	if l == nil {
		return "-"
	}
	return short(l.P50)
}

func p99(l *Latency) string {
	if l == nil {
		return "-"
	}
	return short(l.P99)
}

func span(s *float64) string {
	switch {
	case s == nil:
		return "-"
	case *s < 0.001:
		return "0"
	}
	return short(*s)
}

// short is a time in at most five columns.
func short(seconds float64) string {
	switch {
	case seconds < 0.0009995:
		return fmt.Sprintf("%.0fµs", seconds*1e6)
	case seconds < 0.009995:
		return fmt.Sprintf("%.1fms", seconds*1e3)
	case seconds < 0.9995:
		return fmt.Sprintf("%.0fms", seconds*1e3)
	case seconds < 99.5:
		return fmt.Sprintf("%.1fs", seconds)
	}
	return age(seconds)
}

// age is how old something is, in at most five columns.
func age(seconds float64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 10*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d < 10*24*time.Hour:
		return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
