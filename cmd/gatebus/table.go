package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// shown is a text as it can be put on a terminal: as it is, or in quotes if it has what
// a terminal would take for a command, or what nobody could see. A dash stands for none.
func shown(s string) string {
	plain := s != "" && s != "-" && s == strings.TrimSpace(s) && s[0] != '"'
	for _, r := range s {
		// A replacement character may also stand for what is no UTF-8.
		plain = plain && strconv.IsPrint(r) && r != unicode.ReplacementChar
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// width is how many columns of a terminal a text takes.
func width(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana),
			0x1f300 <= r && r <= 0x1faff, 0xff01 <= r && r <= 0xff60:
			n += 2
		default:
			n++
		}
	}
	return n
}

// table writes rows in columns that are as wide as what was in them so far, block by
// block: lists may be long.
type table struct {
	w      io.Writer
	widths []int
	rows   [][]string // of this block
}

func newTable(w io.Writer, heads ...string) *table {
	t := &table{w: w, widths: make([]int, len(heads))}
	t.add(heads...)
	return t
}

// add adds a row, of texts that can be shown.
func (t *table) add(cells ...string) {
	t.rows = append(t.rows, cells)
	for i, c := range cells {
		t.widths[i] = max(t.widths[i], width(c))
	}
}

// flush writes the rows.
func (t *table) flush() error {
	for _, row := range t.rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(c)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]-width(c)+2))
			}
		}
		if _, err := fmt.Fprintln(t.w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}
