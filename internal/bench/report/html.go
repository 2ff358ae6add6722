package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html
var pageHTML string

var page = template.Must(template.New("report").Parse(pageHTML))

// figure is a plot with what it shows.
type figure struct {
	Caption string
	SVG     template.HTML
}

// section is a bench on the page.
type section struct {
	*Bench
	Rows    []row
	Figures []figure
	Legend  []legend
	Faulty  bool
	Sum     Faults
}

type legend struct{ Class, Name string }

func newSection(b *Bench) section {
	s := section{Bench: b, Rows: b.rows(), Sum: b.Faults()}
	s.Faulty = s.Sum.Sum() > 0
	for i, side := range b.Sides {
		s.Legend = append(s.Legend, legend{sideClass(i), side.Name})
	}
	over := "a second, over the time of each round"
	value := func(p Point) float64 { return p.Rate }
	switch b.Kind {
	case "echo":
		over = "Messages " + over
	case "fanout":
		over = "Deliveries " + over
	case "connect":
		over = "Connections " + over
	case "idle":
		over, value = "Memory of the servers in MB: they settle, then are measured", func(p Point) float64 { return p.Memory }
	}
	asked := ""
	for _, t := range b.Targets {
		if t.Ratio {
			asked = "; the short strokes are what is asked"
		}
	}
	for _, f := range []figure{
		{"Latency by percentile, all rounds", b.latencyPlot()},
		{over, b.timePlot(value)},
		{b.Sides[0].Name + " ÷ " + b.Sides[len(b.Sides)-1].Name + ": median and spread of the rounds" + asked, b.ratioPlot()},
	} {
		if f.SVG != "" {
			s.Figures = append(s.Figures, f)
		}
	}
	return s
}

// WriteHTML writes the report as one page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	data := struct {
		*Report
		When     string
		Sections []section
	}{Report: r, When: r.Started.UTC().Format("2006-01-02 15:04 MST")}
	for i := range r.Benches {
		data.Sections = append(data.Sections, newSection(&r.Benches[i]))
	}
	return page.Execute(w, data)
}
