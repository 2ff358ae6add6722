package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// A plot is drawn in units that are pixels on a narrow telephone and a little
// more on a wide screen, so that its text can be read on both.
const (
	plotWidth  = 360.0
	plotHeight = 220.0
	plotLeft   = 48.0
	plotRight  = 10.0
	plotTop    = 10.0
	plotBottom = 28.0
)

// axis maps values to a position.
type axis struct {
	from, to float64 // values
	log      bool
	at, end  float64 // positions
}

func (a axis) pos(v float64) float64 {
	from, to := a.from, a.to
	if a.log {
		v, from, to = math.Log10(max(v, a.from)), math.Log10(from), math.Log10(to)
	}
	if to == from {
		return a.at
	}
	return a.at + (v-from)/(to-from)*(a.end-a.at)
}

// tick is a marked value of an axis.
type tick struct {
	value float64
	label string
}

// plot is an SVG while it is drawn.
type plot struct {
	b    strings.Builder
	x, y axis
}

func newPlot(title string, x, y axis, height float64) *plot {
	x.at, x.end = plotLeft, plotWidth-plotRight
	y.at, y.end = height-plotBottom, plotTop
	p := &plot{x: x, y: y}
	fmt.Fprintf(&p.b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, plotWidth, height, html.EscapeString(title))
	return p
}

// grid draws the ticks of both axes.
func (p *plot) grid(xs, ys []tick) {
	for _, t := range ys {
		y := p.y.pos(t.value)
		p.line("grid", p.x.at, y, p.x.end, y)
		p.text("end", p.x.at-5, y+3.5, t.label)
	}
	for _, t := range xs {
		x := p.x.pos(t.value)
		p.line("grid", x, p.y.at, x, p.y.at+4)
		anchor := "middle"
		if x > p.x.end-12 {
			anchor = "end"
		}
		p.text(anchor, min(x, p.x.end), p.y.at+16, t.label)
	}
	p.line("axis", p.x.at, p.y.at, p.x.end, p.y.at)
}

func (p *plot) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&p.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (p *plot) text(anchor string, x, y float64, s string) {
	fmt.Fprintf(&p.b, `<text text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, anchor, x, y, html.EscapeString(s))
}

// curve draws a line through points.
func (p *plot) curve(class string, xs, ys []float64) {
	if len(xs) == 0 {
		return
	}
	fmt.Fprintf(&p.b, `<polyline class="%s" points="`, class)
	for i := range xs {
		fmt.Fprintf(&p.b, "%.1f,%.1f ", p.x.pos(xs[i]), p.y.pos(ys[i]))
	}
	p.b.WriteString(`"/>`)
}

func (p *plot) done() template.HTML {
	return template.HTML(p.b.String() + "</svg>") // numbers, and text that is escaped
}

// sideClass is the colour of the i-th side.
func sideClass(i int) string { return "s" + string(rune('a'+i)) }

// beyond is where a percentile stands on an axis on which 90, 99, 99.9, … are
// as far from each other.
func beyond(percentile float64) float64 {
	return -math.Log10(max(1-percentile/100, 1e-6))
}

// latencyPlot shows the latency at each percentile.
func (b *Bench) latencyPlot() template.HTML {
	least, most, right := math.Inf(1), 0.0, 1.0
	for _, s := range b.Sides {
		for i, m := range s.Curve {
			least, most = min(least, max(m.Latency, 1)), max(most, m.Latency)
			if i < len(s.Curve)-1 { // the last is 100
				right = max(right, beyond(m.Percentile))
			}
		}
	}
	if most == 0 {
		return ""
	}
	right += 0.15
	x, y := axis{from: 0, to: right}, axis{from: least / 1.2, to: most * 1.2, log: true}
	p := newPlot("latency by percentile", x, y, plotHeight)
	xs := []tick{{0, "0"}, {beyond(50), "50"}}
	for i, label := range []string{"90", "99", "99.9", "99.99", "99.999"} {
		if v := float64(i + 1); v <= right {
			xs = append(xs, tick{v, label})
		}
	}
	p.grid(xs, logTicks(y.from, y.to))
	for i := len(b.Sides) - 1; i >= 0; i-- {
		var px, py []float64
		for _, m := range b.Sides[i].Curve {
			px, py = append(px, min(beyond(m.Percentile), right)), append(py, m.Latency)
		}
		p.curve(sideClass(i), px, py)
	}
	return p.done()
}

// logTicks are the powers of ten, and what is between if these are few.
func logTicks(from, to float64) []tick {
	steps := []float64{1}
	if to/from < 1000 {
		steps = []float64{1, 2, 5}
	}
	var ticks []tick
	for e := math.Floor(math.Log10(from)); e <= math.Ceil(math.Log10(to)); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= from && v <= to {
				ticks = append(ticks, tick{v, short(micros(v))})
			}
		}
	}
	return ticks
}

// short leaves out zeros behind the point.
func short(s string) string {
	number, unit, _ := strings.Cut(s, " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimSpace(number + " " + unit)
}

// timePlot shows what happened in the time of each round.
func (b *Bench) timePlot(value func(Point) float64) template.HTML {
	var most, end float64
	for _, s := range b.Sides {
		for _, r := range s.Rounds {
			for _, pt := range r.Series {
				most, end = max(most, value(pt)), max(end, pt.At)
			}
		}
	}
	if most == 0 {
		return ""
	}
	p := newPlot("over time", axis{to: end}, axis{to: most * 1.08}, plotHeight)
	var xs, ys []tick
	for _, v := range linearTicks(end, 5) {
		xs = append(xs, tick{v, fmt.Sprintf("%g s", v)})
	}
	for _, v := range linearTicks(most*1.08, 4) {
		ys = append(ys, tick{v, compact(v)})
	}
	p.grid(xs, ys)
	for i := len(b.Sides) - 1; i >= 0; i-- {
		for _, r := range b.Sides[i].Rounds {
			var px, py []float64
			for _, pt := range r.Series {
				px, py = append(px, pt.At), append(py, value(pt))
			}
			p.curve(sideClass(i)+" thin", px, py)
		}
	}
	return p.done()
}

// linearTicks are round numbers from 0 to most, about n of them.
func linearTicks(most float64, n int) []float64 {
	raw := most / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * unit
	for _, s := range []float64{1, 2, 2.5, 5} {
		if s*unit >= raw {
			step = s * unit
			break
		}
	}
	var ticks []float64
	for i := 0; float64(i)*step <= most; i++ {
		ticks = append(ticks, math.Round(float64(i)*step*1e6)/1e6)
	}
	return ticks
}

// compact writes 12000 as 12 k.
func compact(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%g k", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}

// ratioPlot shows the ratios of the sides with their spread, and what is asked.
func (b *Bench) ratioPlot() template.HTML {
	var shown []Ratio
	span := 1.5
	for _, r := range b.Ratios {
		if r.Least > 0 {
			shown = append(shown, r)
			span = max(span, r.Most*1.1, 1.1/r.Least)
		}
	}
	if len(shown) == 0 {
		return ""
	}
	span = min(span, 64)
	const line, labels = 24.0, 128.0
	height := plotTop + plotBottom + line*float64(len(shown))
	p := newPlot("ratios", axis{from: 1 / span, to: span, log: true}, axis{}, height)
	p.x.at = labels
	for _, v := range []float64{1. / 16, 1. / 4, 0.5, 1, 2, 4, 16} {
		if v >= 1/span && v <= span {
			x := p.x.pos(v)
			p.line(map[bool]string{true: "one", false: "grid"}[v == 1], x, plotTop, x, p.y.at)
			p.text("middle", x, p.y.at+16, fmt.Sprintf("%g×", math.Round(v*100)/100))
		}
	}
	for i, r := range shown {
		y := plotTop + line*(float64(i)+0.5)
		p.text("end", labels-8, y+3.5, metric(r.Metric).Label)
		for _, t := range b.Targets {
			if t.Metric == r.Metric && t.Ratio {
				x := p.x.pos(min(max(t.Limit, 1/span), span))
				p.line("asked", x, y-9, x, y+9)
			}
		}
		p.line("spread", p.x.pos(max(r.Least, 1/span)), y, p.x.pos(min(r.Most, span)), y)
		fmt.Fprintf(&p.b, `<circle class="dot" cx="%.1f" cy="%.1f" r="4.5"><title>%s</title></circle>`,
			p.x.pos(min(max(r.Median, 1/span), span)), y, html.EscapeString(metric(r.Metric).Label+" "+r.String()))
	}
	return p.done()
}
