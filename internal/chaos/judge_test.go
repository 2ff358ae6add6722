package chaos

import (
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

func TestJudgeNoticesEachBrokenPromise(t *testing.T) {
	f := func(n int) string { return ledger.FrameOf("c1.1", n) }
	for name, tt := range map[string]struct {
		sent    int
		answers []string
		want    ledger.Broken // of the last one; "" for none
	}{
		"kept":                  {3, []string{f(0), f(1), f(2)}, ""},
		"answered twice":        {3, []string{f(0), f(1), f(0)}, ledger.Duplicated},
		"the last one twice":    {2, []string{f(0), f(1), f(1)}, ledger.Duplicated},
		"one left out":          {3, []string{f(0), f(2)}, ledger.Reordered},
		"the first left out":    {3, []string{f(1)}, ledger.Reordered},
		"not sent":              {1, []string{f(0), f(1)}, ledger.Mangled},
		"somebody else's":       {1, []string{ledger.FrameOf("c2.1", 0)}, ledger.Mangled},
		"of the one before":     {1, []string{ledger.FrameOf("c1.0", 0)}, ledger.Mangled},
		"cut off":               {1, []string{strings.TrimSuffix(f(0), " ") + "x"}, ledger.Mangled},
		"nothing that was sent": {1, []string{"hello"}, ledger.Mangled},
		"empty":                 {1, []string{""}, ledger.Mangled},
	} {
		t.Run(name, func(t *testing.T) {
			j := judge{conn: "c1.1", sent: tt.sent}
			for i, a := range tt.answers {
				broken, text := j.answer(a)
				if last := i == len(tt.answers)-1; broken != "" && !last || last && broken != tt.want {
					t.Errorf("answer %d: %q (%s), want %q", i, broken, text, tt.want)
				}
			}
		})
	}
}
