package report

import (
	_ "embed"
	"io"
	"strings"
	"text/template"
)

//go:embed performance.md
var documentText string

var document = template.Must(template.New("performance").Funcs(template.FuncMap{
	"rows":   (*Bench).rows,
	"ratio":  row.ratio,
	"cell":   func(s string) string { return strings.ReplaceAll(s, "|", `\|`) },
	"faults": func(b *Bench) string { return b.Faults().String() },
	"faulty": func(b *Bench) bool { f := b.Faults(); return f.Sum() > 0 },
	"dashes": func(b *Bench) string { return strings.Repeat("---:|", b.columns()) },
	"asked":  func(r row) string { return strings.TrimSpace(r.Target + " " + verdict(r.Verdict)) },
	"pointers": func(benches []Bench) (all []*Bench) {
		for i := range benches {
			all = append(all, &benches[i])
		}
		return all
	},
}).Parse(documentText))

// columns is how many columns of figures a bench has.
func (b *Bench) columns() int {
	n := len(b.Sides)
	if len(b.Ratios) > 0 {
		n++
	}
	if len(b.Targets) > 0 {
		n++
	}
	return n
}

func verdict(v string) string {
	if v == "" {
		return ""
	}
	return "(" + v + ")"
}

// WriteMarkdown writes the report as a document.
func (r *Report) WriteMarkdown(w io.Writer) error { return document.Execute(w, r) }
