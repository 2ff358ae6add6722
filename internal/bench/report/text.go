package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// row is one metric of a bench, ready to be shown.
type row struct {
	Key     string
	Label   string
	Values  []string // one a side
	Median  string   // ratio; "" if there is none
	Spread  string   // of the ratio over the rounds, if there are several
	Target  string
	Verdict string // of the target; "" if there is none
}

// ratio is the median with its spread.
func (r row) ratio() string { return strings.TrimSpace(r.Median + " " + r.Spread) }

// rows are the metrics of a bench that any side has.
func (b *Bench) rows() []row {
	var rows []row
	for _, m := range Metrics {
		r := row{Key: m.Key, Label: m.Label}
		has := false
		for _, s := range b.Sides {
			text := "–"
			if v, ok := s.Median[m.Key]; ok {
				text, has = m.Unit.Format(v), true
			}
			r.Values = append(r.Values, text)
		}
		if !has {
			continue
		}
		if ratio, ok := b.Ratio(m.Key); ok {
			r.Median, r.Spread = ratio.parts()
		}
		for _, t := range b.Targets {
			if t.Metric == m.Key {
				r.Target, r.Verdict = t.String(), t.Verdict()
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// WriteText writes a bench as a table for a terminal.
func (b *Bench) WriteText(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n", b.Title)
	var lines [][]string
	head := []string{""}
	for _, s := range b.Sides {
		head = append(head, s.Name)
	}
	if len(b.Ratios) > 0 {
		head = append(head, fmt.Sprintf("ratio (of %d)", b.rounds()))
	}
	if len(b.Targets) > 0 {
		head = append(head, "asked", "")
	}
	lines = append(lines, head)
	for _, r := range b.rows() {
		cells := append([]string{r.Label}, r.Values...)
		if len(b.Ratios) > 0 {
			cells = append(cells, r.ratio())
		}
		if len(b.Targets) > 0 {
			cells = append(cells, r.Target, r.Verdict)
		}
		lines = append(lines, cells)
	}
	writeColumns(&out, lines)
	if f := b.Faults(); f.Sum() > 0 {
		fmt.Fprintf(&out, "  %s\n", f)
		for _, e := range f.Examples {
			fmt.Fprintf(&out, "    %s\n", e)
		}
	}
	for _, n := range b.Notes {
		fmt.Fprintf(&out, "  %s\n", n)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// rounds is how many rounds each side was measured.
func (b *Bench) rounds() int {
	if len(b.Sides) == 0 {
		return 0
	}
	return len(b.Sides[0].Rounds)
}

// String says how many of each there are.
func (f Faults) String() string {
	return fmt.Sprintf("FAULTS: %d wrong answers, %d out of order, %d missing, %d broken connections", f.Wrong, f.Order, f.Missing, f.Broken)
}

// String describes the machine in a line.
func (m Machine) String() string {
	parts := []string{fmt.Sprintf("%d CPUs", m.CPUs)}
	if m.Model != "" {
		parts[0] += " (" + m.Model + ")"
	}
	if m.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%.0f GB", float64(m.Memory)/(1<<30)))
	}
	return strings.Join(append(parts, m.OS+"/"+m.Arch, m.Go), ", ")
}

// writeColumns writes lines of cells, the first column left and the others right
// aligned.
func writeColumns(w io.Writer, lines [][]string) {
	var wide []int
	for _, cells := range lines {
		for i, c := range cells {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], utf8.RuneCountInString(c))
		}
	}
	for _, cells := range lines {
		var b strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", wide[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
