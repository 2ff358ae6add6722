package register

import (
	"testing"

	"github.com/gatebus/gatebus/bus"
)

// What is read as an answer's subject is what would be written.
func FuzzParseAnswerSubject(f *testing.F) {
	for _, s := range []string{"reg.answer.x.g1.1", "reg.answer.x.g1.01", "reg.answer.x.g1", "reg.answer...", "reg.answer.x.g-1.3w5e11264sgsf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := parseAnswerSubject(s)
		if err != nil {
			return
		}
		if again, err := parseAnswerSubject(answerSubject(k)); err != nil || again != k {
			t.Errorf("%q: %+v, then %+v, %v", s, k, again, err)
		}
	})
}

// News is read or refused, and has a name and an epoch.
func FuzzParseGatewayDown(f *testing.F) {
	for _, s := range []string{`{"gateway":"g1","epoch":"1","address":"a:1"}`, `{"gateway":"g1"}`, "null", "{", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		down, err := ParseGatewayDown(&bus.Msg{Data: []byte(s)})
		if err == nil && (bus.CheckName(string(down.Gateway)) != nil || down.Epoch == 0) {
			t.Errorf("%q is read as %+v", s, down)
		}
	})
}
