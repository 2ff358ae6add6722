package bus

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Protocol is a version of the protocol: <major>.<minor>. It is another number than
// that of the program. Those of one major understand each other: what a minor adds can
// be ignored by who does not know it, or is used only with who has said that it does.
// Empty stands for 1.0, of who says nothing.
//
// What may change in a minor, and for how long the one before is supported, is said in
// docs/protocol.md, under "Versions".
type Protocol string

// The versions of the protocol so far.
const (
	// Protocol1_0 is what every NATS client can speak, and who says nothing is taken
	// to.
	Protocol1_0 Protocol = "1.0"
	// Protocol1_1 adds that members say their version, batches that can be extended
	// ([AppendEventExtension]), and names.
	Protocol1_1 Protocol = "1.1"
)

// CurrentProtocol is the version that this program speaks.
func CurrentProtocol() Protocol {
	if emulated != nil {
		return emulated.Protocol
	}
	return Protocol1_1
}

func (p Protocol) String() string {
	if p == "" {
		return string(Protocol1_0)
	}
	return string(p)
}

// Numbers are the two numbers of the version. An error says that it is none; it wraps
// [ErrMessage].
func (p Protocol) Numbers() (major, minor int, err error) {
	first, second, _ := strings.Cut(p.String(), ".")
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(second, 10, 16)
	if err != nil || err2 != nil {
		return 0, 0, fmt.Errorf("bus: %w: protocol %q is not <major>.<minor>", ErrMessage, string(p))
	}
	return int(a), int(b), nil
}

// ProtocolError says that two do not go together.
type ProtocolError struct {
	// Peer is what the other one is called: "gateway g1". Self is who says so.
	Peer, Self   string
	Theirs, Ours Protocol
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("bus: %s speaks protocol %.20q and %s %q: they do not go together; run versions of gatebus whose protocols have the same first number",
		e.Peer, e.Theirs.String(), e.Self, e.Ours.String())
}

// Check tells whether one of this protocol, called self, goes together with a peer. The
// error is a *ProtocolError.
func (p Protocol) Check(self, peer string, theirs Protocol) error {
	ours, _, err := p.Numbers()
	if err == nil {
		var other int
		if other, _, err = theirs.Numbers(); err == nil && ours == other {
			return nil
		}
	}
	return &ProtocolError{Peer: peer, Self: self, Theirs: theirs, Ours: p}
}

// Hello is the payload of [OpHello]: who greets. All of it may be missing. The answer
// has the gateway's own Protocol.
type Hello struct {
	// Worker is the address of the connection that greets, for who has one.
	Worker   WorkerAddress `json:"worker,omitempty"`
	Protocol Protocol      `json:"protocol,omitempty"`
}

// Msg is the greeting as a message to a gateway.
func (h Hello) Msg(g GatewayID) *Msg { return mustMsg(CommandSubject(g, OpHello), h) }

// ParseHello reads the payload of a greeting; an empty one says nothing.
func ParseHello(data []byte) (h Hello, err error) {
	if len(data) == 0 {
		return h, nil
	}
	if err = json.Unmarshal(data, &h); err == nil && h.Worker != "" {
		err = h.Worker.Check()
	}
	if err != nil {
		return Hello{}, fmt.Errorf("bus: %w: hello command: %w", ErrMessage, err)
	}
	return h, nil
}

// Conn is the connection in the address of a worker of the SDK; false of another.
func (a WorkerAddress) Conn() (ConnID, bool) {
	_, conn, _ := strings.Cut(string(a), ".")
	id, err := strconv.ParseUint(conn, 10, 64)
	return ConnID(id), err == nil
}
