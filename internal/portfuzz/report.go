package portfuzz

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Write writes the report for people.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "seed %d: %d attempts; %d frames and %d requests of those who behave were answered, the slowest frame in %v\n", r.Seed, r.Attempts, r.Frames, r.Asked, r.Slowest)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "process\tfiles\tgoroutines\tlive KB\tresident MB\tclients\t")
	for i, rest := range r.Rests {
		fmt.Fprintf(tab, "rest %d\t\t\t\t\t\t\n", i+1)
		for _, name := range slices.Sorted(maps.Keys(rest)) {
			u := rest[name]
			fmt.Fprintf(tab, "%s\t%d\t%d\t%d\t%d\t%d\t\n", name, u.Files, u.Goroutines, u.Live>>10, u.Resident>>20, u.Clients)
		}
	}
	_ = tab.Flush() // w is for people
	for _, name := range r.Unheard {
		fmt.Fprintf(w, "nobody was there for %s\n", name)
	}
	for _, text := range r.Broken {
		fmt.Fprintf(w, "BROKEN %s\n", text)
	}
}
