package bus

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Taps show live frames on the registers, to whoever subscribes there: each event,
// answer, push and command of a gateway on the subject that it has on the gateway's
// bus, one message each; of one client, also what it is sent in the end. The gateways
// mirror only what somebody is subscribed to, which the registers tell them.

// The headers of what is mirrored, beside those that it has on the bus.
const (
	HeaderClient = "Gb-Client" // on an event: whose it is
	HeaderSeq    = "Gb-Seq"    // on an event: its number
	HeaderSize   = "Gb-Size"   // the size of a payload that is hidden, in bytes
)

const verbTap = "tap"

// TapsSubject is where a register tells the gateways what is tapped there: [Taps].
const TapsSubject = "reg.taps"

// Taps is what is tapped at a register: subscriptions that may match subjects of
// gateways. It is told anew several times a second as long as there is one.
type Taps struct {
	Register string   `json:"register"`
	Subjects []string `json:"subjects"`
}

// Msg is the message to the gateways.
func (t Taps) Msg() *Msg { return mustMsg(TapsSubject, t) }

// ParseTaps reads what [Taps.Msg] wrote.
func ParseTaps(data []byte) (t Taps, err error) {
	if err := json.Unmarshal(data, &t); err != nil {
		return Taps{}, fmt.Errorf("bus: %w: taps: %w", ErrMessage, err)
	}
	return t, nil
}

// TapSubjects covers what is mirrored of single clients, and what is said of that:
// gw.<gateway>.tap.>.
func TapSubjects(g GatewayID) string { return root + string(g) + "." + verbTap + ".>" }

// ClientTap covers what is mirrored of one client alone: gw.<gateway>.tap.<client>.>.
// Events are on …<client>.in.<kind>, and what it is sent on …<client>.out.<kind>.
func ClientTap(g GatewayID, c ClientID) string {
	return root + string(g) + "." + verbTap + "." + string(c) + ".>"
}

// ClientTapSubject is where one event of a client, or one frame to it, is mirrored.
func ClientTapSubject(g GatewayID, c ClientID, in bool, k Kind) string {
	direction := verbOut
	if in {
		direction = verbIn
	}
	return root + string(g) + "." + verbTap + "." + string(c) + "." + direction + "." + k.String()
}

// SkippedSubject is where a gateway says every second how much it has not mirrored,
// because it was too much: gw.<gateway>.tap.skipped.
func SkippedSubject(g GatewayID) string {
	return root + string(g) + "." + verbTap + ".skipped"
}

// Skipped is what is said there.
type Skipped struct {
	Gateway GatewayID `json:"gateway"`
	Skipped int64     `json:"skipped"` // messages since it was last said
}

// Msg is the message.
func (s Skipped) Msg() *Msg { return mustMsg(SkippedSubject(s.Gateway), s) }

// TapsGateways tells whether a subscription may match a subject of a gateway.
func TapsGateways(subscription string) bool {
	first, rest, more := strings.Cut(subscription, ".")
	return first == ">" || more && rest != "" && (first == "*" || first+"." == root)
}

// Covers tells whether a subscription matches a subject, as a NATS server has it.
func Covers(subscription, subject string) bool {
	for {
		want, restWanted, moreWanted := strings.Cut(subscription, ".")
		if want == ">" {
			return subject != ""
		}
		token, rest, more := strings.Cut(subject, ".")
		if want != "*" && want != token || moreWanted != more {
			return false
		}
		if !more {
			return true
		}
		subscription, subject = restWanted, rest
	}
}

// SplitTaps tells the subscriptions that one client is tapped by from the others.
// Those of no client at all, such as gw.>, are among the others only.
func SplitTaps(g GatewayID, subscriptions []string) (clients map[ClientID]struct{}, others []string) {
	for _, s := range subscriptions {
		tokens := strings.Split(s, ".")
		if len(tokens) < 4 || tokens[2] != verbTap {
			others = append(others, s)
			continue
		}
		if id := ClientID(tokens[3]); tokens[1] == "*" || tokens[1] == string(g) {
			if _, _, _, err := id.Parts(); err == nil {
				if clients == nil {
					clients = map[ClientID]struct{}{}
				}
				clients[id] = struct{}{}
			}
		}
	}
	slices.Sort(others)
	return clients, slices.Compact(others)
}
