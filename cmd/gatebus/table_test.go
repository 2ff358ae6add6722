package main

import (
	"strings"
	"testing"
)

func TestShown(t *testing.T) {
	for s, want := range map[string]string{
		"ann": "ann", "a b": "a b", "": `""`, "-": `"-"`, " a": `" a"`, "a\x1b[31m": `"a\x1b[31m"`, "a\nb": `"a\nb"`,
		"\xff": `"\xff"`, "\ufffd": `"�"`, "漢": "漢", "🐙": "🐙", "a\u202eb": `"a\u202eb"`, `"a"`: `"\"a\""`, `a"b`: `a"b`,
		"a\u0085": `"a\u0085"`, "a\x7f": `"a\x7f"`, "a\u200bb": `"a\u200bb"`, "\u00a0": `"\u00a0"`,
	} {
		if got := shown(s); got != want {
			t.Errorf("%q is shown as %s, want %s", s, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	out := newTable(&b, "A", "B", "C")
	out.add("漢字", "x", "1")
	out.add("a", "é", "2")
	out.add("abcd", "e\u0301", "")
	if err := out.flush(); err != nil {
		t.Fatal(err)
	}
	out.add("b", "y", "3")
	if err := out.flush(); err != nil {
		t.Fatal(err)
	}
	want := "A     B  C\n漢字  x  1\na     é  2\nabcd  e\u0301\nb     y  3\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
