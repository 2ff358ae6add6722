package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is all that is wrong with a configuration. A command that gets one
// prints it and exits with 2.
type Error struct {
	// Problems are at least one: those of the file by line, then those of the
	// environment, then those of flags.
	Problems []Problem
}

// Error is the problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i := range e.Problems {
		lines[i] = e.Problems[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i := range e.Problems {
		errs[i] = &e.Problems[i]
	}
	return errs
}

// Problem is one thing that is wrong.
type Problem struct {
	// Origin is where it can be put right.
	Origin Origin
	// Key is the key that it is about, such as gateway.ack_wait; empty where
	// it is about none.
	Key string
	// Err says what is wrong and what to do.
	Err error
}

// Error is "host.yaml:9: gateway.hold: what is wrong; what to do".
func (p *Problem) Error() string {
	var parts []string
	if o := p.Origin.String(); o != "" {
		parts = append(parts, o)
	}
	if p.Key != "" && p.Key != p.Origin.Flag {
		parts = append(parts, p.Key)
	}
	return strings.Join(append(parts, p.Err.Error()), ": ")
}

// Unwrap gives Err.
func (p *Problem) Unwrap() error { return p.Err }

// Origin is where a value was set. The zero Origin is the default.
type Origin struct {
	// File is the name of the file, Line the line in it, from 1; Line is 0 for
	// what the file does not say.
	File string
	Line int
	// Env is the name of the environment variable.
	Env string
	// Flag is the key of a --set flag.
	Flag string
}

// String is "host.yaml:9", "GATEBUS_SECRET", "--set secret", or empty.
func (o Origin) String() string {
	switch {
	case o.Flag != "":
		return "--set " + o.Flag
	case o.Env != "":
		return o.Env
	case o.File != "" && o.Line > 0:
		return o.File + ":" + strconv.Itoa(o.Line)
	}
	return o.File
}

// rank orders the layers; what only misses in a file comes after its lines.
func (o Origin) rank() int {
	switch {
	case o.Flag != "":
		return 4
	case o.Env != "":
		return 3
	case o.Line == 0:
		return 2
	}
	return 1
}

// problems collects what is wrong.
type problems []Problem

// add adds a problem; format and args are those of fmt.Errorf.
func (ps *problems) add(o Origin, key, format string, args ...any) {
	*ps = append(*ps, Problem{Origin: o, Key: key, Err: fmt.Errorf(format, args...)})
}

// has tells whether something is wrong with a key already.
func (ps problems) has(key string) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Key == key })
}

// err is nil without problems, otherwise an [Error] with all of them in order.
func (ps problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.rank(), b.Origin.rank()), cmp.Compare(a.Origin.Line, b.Origin.Line))
	})
	return &Error{Problems: ps}
}

// split takes apart what a role's Validate returns: an errors.Join of errors
// that each begin with "key: ".
func split(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range j.Unwrap() {
			errs = append(errs, split(e)...)
		}
		return errs
	}
	return []error{err}
}

// keyed takes the key off the text of an error, not off what it wraps.
func keyed(err error) (key string, rest error) {
	key, text, ok := strings.Cut(err.Error(), ": ")
	if !ok || strings.ContainsAny(key, " \"") {
		return "", err
	}
	return key, &shortened{text: text, err: err}
}

// shortened is an error with a shorter text.
type shortened struct {
	text string
	err  error
}

func (s *shortened) Error() string { return s.text }
func (s *shortened) Unwrap() error { return s.err }
