package chaos

import (
	"fmt"

	"github.com/gatebus/gatebus/internal/chaos/ledger"
)

// judge checks the answers of one connection.
type judge struct {
	conn     string
	sent     int // frames; their numbers are below
	answered int // numbers below are answered
}

// answer tells what is wrong with an answer; "" if it is the one that is due.
func (j *judge) answer(data string) (ledger.Broken, string) {
	if j.answered < j.sent && data == ledger.FrameOf(j.conn, j.answered) {
		j.answered++
		return "", ""
	}
	conn, number, _, err := ledger.ParseFrame(data)
	switch {
	case err != nil || conn != j.conn || number < 0 || data != ledger.FrameOf(conn, number):
		return ledger.Mangled, fmt.Sprintf("answer %.80q, number %d is due", data, j.answered)
	case number >= j.sent:
		return ledger.Mangled, fmt.Sprintf("number %d is answered, and was not sent", number)
	case number < j.answered:
		return ledger.Duplicated, fmt.Sprintf("number %d is answered again, %d is due", number, j.answered)
	}
	return ledger.Reordered, fmt.Sprintf("number %d is answered, %d is due", number, j.answered)
}
