package bus

// Emulation has a program speak the protocol as one of another version does: with what
// this one does not know, or without what it does. It is for tests of clusters of several
// versions (internal/testbed/otherversion); no release has one.
type Emulation struct {
	// Protocol is what the program says that it speaks.
	Protocol Protocol
	// Batches says whether a gateway sees that workers take those.
	Batches bool
	// Sent is what is sent in the place of a message, which it must not change.
	Sent func(*Msg) []*Msg
	// Subscribed tells whether the program subscribes to a subject.
	Subscribed func(subject string) bool
}

// emulated is set before anything is dialed; nil in every release.
var emulated *Emulation

// Emulate has all of this program speak so. It must be called once, before everything
// else.
func Emulate(e *Emulation) { emulated = e }
