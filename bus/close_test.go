package bus_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/bus"
)

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	codes := make([]bus.CloseCode, 0, len(bus.CloseCodes))
	for _, m := range bus.CloseCodes {
		codes = append(codes, m.Code)
		if m.Meaning == "" || !strings.HasPrefix(m.Reconnect, "yes") && !strings.HasPrefix(m.Reconnect, "no") && m.Reconnect != "as the application says" {
			t.Errorf("%d: meaning %q, reconnect %q", m.Code, m.Meaning, m.Reconnect)
		}
		if m.Code >= 5000 || m.Code < 1000 || m.Code >= 4100 {
			t.Errorf("%d is not gatebus's to give", m.Code)
		}
	}
	if !slices.IsSorted(codes) {
		t.Errorf("the table is not sorted: %v", codes)
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(codes)))); n != len(codes) {
		t.Errorf("a code stands twice in the table: %v", codes)
	}
	// Every constant is in the table, but for those that are never sent.
	constants := closeConstants(t)
	if len(constants) < 14 {
		t.Fatalf("found only %d constants", len(constants))
	}
	for name, code := range constants {
		sent := code != bus.CloseNoStatus && code != bus.CloseAbnormal
		if slices.Contains(codes, code) != sent {
			t.Errorf("%s (%d) is in the table: %v, want %v", name, code, !sent, sent)
		}
	}
	if len(codes) != len(constants)-2 {
		t.Errorf("%d codes in the table, %d constants that are sent", len(codes), len(constants)-2)
	}
}

// closeConstants reads the constants of type CloseCode from the source, so that
// a new one is not forgotten.
func closeConstants(t *testing.T) map[string]bus.CloseCode {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "close.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bus.CloseCode{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			n, err := strconv.Atoi(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[v.Names[0].Name] = bus.CloseCode(n)
		}
	}
	return found
}

// TestCloseCodeNumbers holds the numbers in place that the contract names.
func TestCloseCodeNumbers(t *testing.T) {
	t.Parallel()
	for want, got := range map[bus.CloseCode]bus.CloseCode{
		1000: bus.CloseNormal, 1001: bus.CloseGoingAway, 1002: bus.CloseProtocolError, 1005: bus.CloseNoStatus,
		1006: bus.CloseAbnormal, 1007: bus.CloseInvalidData, 1008: bus.ClosePolicy, 1009: bus.CloseTooBig,
		1011: bus.CloseHandlerFailed, 1012: bus.CloseRestart, 1013: bus.CloseTryLater,
		4000: bus.CloseSlowClient, 4001: bus.CloseSilent, 4002: bus.CloseKicked, 4003: bus.CloseReplaced,
		4004: bus.CloseRateLimit, 4005: bus.CloseUnauthenticated, 4006: bus.CloseTokenExpired,
	} {
		if got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
}

func TestCheckCloseCode(t *testing.T) {
	t.Parallel()
	allowed := map[bus.CloseCode]bool{1000: true, 1001: true, 1003: true, 1007: true, 1014: true, 3000: true, 3999: true,
		4000: true, 4001: true, 4002: true, 4100: true, 4999: true,
		-1: false, 0: false, 1: false, 999: false, 1002: false, 1004: false, 1005: false, 1006: false, 1015: false,
		2000: false, 2999: false, 4003: true, 4004: true, 4006: true, 4007: false, 4099: false, 5000: false, 65536 + 1000: false}
	for c := bus.CloseCode(1008); c < 1014; c++ {
		allowed[c] = true
	}
	for code, want := range allowed {
		if err := bus.CheckCloseCode(code); (err == nil) != want {
			t.Errorf("CheckCloseCode(%d) = %v, want allowed: %v", code, err, want)
		}
	}
}
