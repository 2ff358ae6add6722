// Package batch puts small messages that wait anyway into large ones.
//
// What is added while a batch is on its way makes the next one, so nothing is
// ever kept back to make a batch fuller: with little to do, each message goes
// alone and at once; the more there is to do, the fuller the batches are.
// Batches are sent in the order in which their parts were added.
package batch

import (
	"runtime"
	"sync"
)

// Size is when a batch is full, in bytes: large enough to make the cost of a
// message small beside that of its parts, well below what a server takes.
const Size = 128 << 10

// Batch is what was added, in order.
type Batch struct {
	Number uint64 // counts batches from 1
	Parts  int
	Data   []byte // not to be kept when Send has returned
	Notes  *Notes // nil mostly
}

// Notes are what was said about some of the parts, in their order.
type Notes struct {
	Texts []string
	bytes int
}

// Batcher makes batches. All methods may be called by any goroutine.
type Batcher struct {
	// set at construction
	send  func(Batch)
	spawn func(func()) bool
	cork  *Cork // nil: none

	sends sync.Mutex // held while a batch is sent; taken before mu

	mu      sync.Mutex
	open    Batch
	full    []Batch // wait before open
	spare   []byte
	number  uint64 // of open
	sending bool   // a goroutine is at it, or about to be
}

// New makes a batcher. send is called for one batch at a time, on goroutines
// that spawn starts, which end when there is nothing to send, or by Flush. It
// must not come back to the batcher. When spawn has refused once, only Flush
// sends. While the cork is in, nothing is sent but by Flush; it may be nil.
func New(send func(Batch), spawn func(func()) bool, cork *Cork) *Batcher {
	return &Batcher{send: send, spawn: spawn, cork: cork, number: 1}
}

// Begin locks the batcher and returns what the next part is to be appended to.
// End must follow.
func (b *Batcher) Begin() []byte {
	b.mu.Lock()
	if b.open.Data == nil {
		b.open.Data, b.spare = b.spare, nil
	}
	return b.open.Data
}

// End takes in the part that was appended, sees to it that it is sent soon, and
// returns the number of its batch.
func (b *Batcher) End(data []byte) (number uint64) { return b.EndNoted(data, "") }

// EndNoted is End with a note about the part, which goes with its batch and counts for
// what makes that full; "" for none.
func (b *Batcher) EndNoted(data []byte, note string) (number uint64) {
	number, start := b.end(data, note)
	if start {
		b.spawn(b.run)
	}
	return number
}

// EndAndSend is End for a caller that has time: unless somebody else is at it, it
// sends itself.
func (b *Batcher) EndAndSend(data []byte) {
	if _, start := b.end(data, ""); start {
		b.work()
	}
}

func (b *Batcher) end(data []byte, note string) (number uint64, start bool) {
	b.open.Data = data
	b.open.Parts++
	size := len(data)
	if note != "" {
		if b.open.Notes == nil {
			b.open.Notes = &Notes{}
		}
		b.open.Notes.Texts = append(b.open.Notes.Texts, note)
		b.open.Notes.bytes += len(note)
	}
	if n := b.open.Notes; n != nil {
		size += n.bytes
	}
	number = b.number
	if size >= Size {
		b.closeLocked()
	}
	start = !b.sending && !b.cork.holds(b)
	b.sending = true
	b.mu.Unlock()
	return number, start
}

// Number is the number of the batch that the next part goes into.
func (b *Batcher) Number() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.number
}

func (b *Batcher) closeLocked() {
	b.open.Number = b.number
	b.full = append(b.full, b.open)
	b.open = Batch{}
	b.number++
}

// run is work on a goroutine of its own.
func (b *Batcher) run() {
	// Whoever can run now may have something to add. When nobody can, this costs
	// nothing.
	runtime.Gosched()
	for {
		if _, ok := b.next(true); !ok {
			return
		}
	}
}

// work sends all that was added before. What is added meanwhile is for another
// goroutine: the caller has something else to do, too.
func (b *Batcher) work() {
	b.mu.Lock()
	last := b.number
	b.mu.Unlock()
	for {
		number, ok := b.next(true)
		if !ok {
			return
		}
		if number >= last {
			break
		}
	}
	b.mu.Lock()
	more := b.open.Parts > 0 || len(b.full) > 0
	b.sending = more
	b.mu.Unlock()
	if more {
		b.spawn(b.run)
	}
}

// Flush returns when all that was added before is sent.
func (b *Batcher) Flush() {
	for {
		if _, ok := b.next(false); !ok {
			return
		}
	}
}

// next sends a batch and returns its number; false if there is none. The one who
// is the sender then ceases to be.
func (b *Batcher) next(sender bool) (number uint64, ok bool) {
	b.sends.Lock()
	defer b.sends.Unlock()
	b.mu.Lock()
	if len(b.full) == 0 && b.open.Parts > 0 {
		b.closeLocked()
	}
	if len(b.full) == 0 {
		if sender {
			b.sending = false
		}
		b.mu.Unlock()
		return 0, false
	}
	batch := b.full[0]
	if b.full = b.full[1:]; len(b.full) == 0 {
		b.full = nil
	}
	b.mu.Unlock()
	b.send(batch)
	if cap(batch.Data) <= Size/2 {
		b.mu.Lock()
		b.spare = batch.Data[:0]
		b.mu.Unlock()
	}
	return batch.Number, true
}
