package ledger

// Broken says which promise a violation is about.
type Broken string

// What can be broken.
const (
	Lost       Broken = "lost"       // a frame was not answered, or an event not handled
	Duplicated Broken = "duplicated" // answered twice, or given out twice unmarked
	Reordered  Broken = "reordered"  // answered or handled before an earlier one
	Mangled    Broken = "mangled"    // the answer is not what was sent
	Closed     Broken = "closed"     // a connection ended without a reason
	Refused    Broken = "refused"    // a client was not let in
	Ended      Broken = "ended"      // a process ended, or did not, or with an error
	Leaked     Broken = "leaked"     // something is left at the end
)
