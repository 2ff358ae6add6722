package bus

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The dense form of the protocol, between a gateway and workers that are
// subscribed to BatchSubjects: many events in one message, and many replies. It
// says the same as the plain form. A batch begins with the gateway's epoch; a
// client is the number in its id.
//
// A batch of events is published on [BatchSubject] with the reply subject
// [BatchReplySubject], which only serves to tell the gateway that nobody was
// there. Replies are published on [RepliesSubject], which says whose they are.
// Integers are unsigned
// varints, strings and data have their length in front.
//
//	event: flags, client, seq, [delivery], [uid], [state, session], data
//	reply: flags, client, seq, [code, reason], data
//	extension, of the event or reply that follows it: flags, data
//	data of extension 1 of a reply: for how long the handler was at it, in nanoseconds
//
// Flags of an event: its kind in the low three bits, then whether there is a
// delivery, a uid, a session or state, whether it waits for its turn behind the client's
// others at the worker instead of being handed back, and whether it does so only
// if the one before it was taken there. Flags of a reply:
// its status in the low three bits, the kind of its frame in the next three,
// then whether there is a code with its reason.
//
// Those of an extension have, in the low three bits, what is no kind and no status, and
// above them its number. Who does not know that skips it. An extension is sent only to
// who speaks [Protocol1_1] or a later one, as everybody does who sends batches.
const (
	flagDelivery = 1 << (iota + 3)
	flagUID
	flagSession
	flagQueue
	flagFollow
)

const flagCode = 1 << 6

const (
	flagBits       = 7 // of a kind or status
	eventExtension = 0 // in the place of a kind
	replyExtension = 7 // in the place of a status
)

// extensionTook is the number of the extension that says [BatchReply.Took].
const extensionTook = 1

// BatchSubject is where a gateway publishes batches of events for one worker:
// gw.<gateway>.batch.<address>.
func BatchSubject(g GatewayID, at WorkerAddress) string {
	return root + string(g) + "." + verbBatch + "." + string(at)
}

// InstanceOf reverses [BatchSubjects]: the instance of a worker that takes
// batches of the gateway, "" if the subject is not one of those.
func InstanceOf(g GatewayID, subject string) string {
	name, ok := strings.CutPrefix(subject, root+string(g)+"."+verbBatch+".")
	if !ok {
		return ""
	}
	instance, ok := strings.CutSuffix(name, ".*")
	if !ok || CheckName(instance) != nil || emulated != nil && !emulated.Batches {
		return ""
	}
	return instance
}

// BatchSubjects covers the batches for one worker, whatever the connection:
// gw.<gateway>.batch.<instance>.*.
func BatchSubjects(g GatewayID, instance string) string {
	return root + string(g) + "." + verbBatch + "." + instance + ".*"
}

// ParseBatchSubject reverses [BatchSubject].
func ParseBatchSubject(s string) (g GatewayID, at WorkerAddress, err error) {
	g, rest, err := cut(s, verbBatch)
	if err != nil {
		return "", "", err
	}
	at = WorkerAddress(rest)
	if err := at.Check(); err != nil {
		return "", "", err
	}
	return g, at, nil
}

// BatchReplySubject is the reply subject of the batch of that number to a
// connection: gw.<gateway>.replies.<connection>.<number>.
func BatchReplySubject(g GatewayID, to ConnID, number uint64) string {
	return root + string(g) + "." + verbReplies + "." + strconv.FormatUint(uint64(to), 10) + "." + strconv.FormatUint(number, 10)
}

// RepliesSubject is where a worker publishes batches of replies to events that
// it was sent by the address: gw.<gateway>.replies.<address>.
func RepliesSubject(g GatewayID, at WorkerAddress) string {
	return root + string(g) + "." + verbReplies + "." + string(at)
}

// ParseRepliesSubject reverses [RepliesSubject].
func ParseRepliesSubject(s string) (at WorkerAddress, err error) {
	_, rest, err := cut(s, verbReplies)
	if err != nil {
		return "", err
	}
	at = WorkerAddress(rest)
	return at, at.Check()
}

// RepliesSubjects covers both: gw.<gateway>.replies.>.
func RepliesSubjects(g GatewayID) string { return root + string(g) + "." + verbReplies + ".>" }

// ParseBatchReplySubject reverses [BatchReplySubject].
func ParseBatchReplySubject(s string) (to ConnID, number uint64, err error) {
	_, rest, err := cut(s, verbReplies)
	if err != nil {
		return 0, 0, err
	}
	conn, num, _ := strings.Cut(rest, ".")
	id, err := strconv.ParseUint(conn, 10, 64)
	if err == nil {
		number, err = strconv.ParseUint(num, 10, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("bus: %w: %q: %w", ErrSubject, s, err)
	}
	return ConnID(id), number, nil
}

// BeginBatch is what a batch, of events or of replies, begins with: the epoch of
// the gateway whose clients it is about. A connection may outlive that, when a
// gateway is restarted; the numbers of its clients begin anew then.
func BeginBatch(b []byte, epoch Epoch) []byte { return binary.AppendUvarint(b, uint64(epoch)) }

// BatchEpoch reads what [BeginBatch] wrote.
func BatchEpoch(b []byte) (epoch Epoch, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n == 0 {
		return 0, nil, errBatch
	}
	return Epoch(n), b[size:], nil
}

// BatchEvent is an event in a batch.
type BatchEvent struct {
	Kind     Kind
	Client   uint64 // the number in its id
	Seq      uint64
	Delivery int
	UID      string
	Session  string
	State    uint64
	// Queue says that the event waits at the worker behind the client's others,
	// as one of the plain form does that is for the worker alone.
	Queue bool
	// Follow says that the one before it was sent to the worker too: it waits
	// behind that, and is handed back if the worker did not take that or has
	// forgotten. So what was handed back is not overtaken.
	Follow bool
	Data   []byte
}

// Append puts the event behind a batch.
func (e *BatchEvent) Append(b []byte) []byte {
	flags := byte(e.Kind)
	if e.Delivery > 1 {
		flags |= flagDelivery
	}
	if e.UID != "" {
		flags |= flagUID
	}
	session := e.Session != "" || e.State > 0
	if session {
		flags |= flagSession
	}
	if e.Queue {
		flags |= flagQueue
	}
	if e.Follow {
		flags |= flagFollow
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, e.Client)
	b = binary.AppendUvarint(b, e.Seq)
	if e.Delivery > 1 {
		b = binary.AppendUvarint(b, uint64(e.Delivery))
	}
	if e.UID != "" {
		b = appendString(b, e.UID)
	}
	if session {
		b = appendString(binary.AppendUvarint(b, e.State), e.Session)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// BatchReply is a reply in a batch.
type BatchReply struct {
	Client uint64
	Seq    uint64
	// Took is for how long a handler was at the event; 0: that is not said. Workers say
	// it of a sample, so that a gateway knows whose handlers are quick.
	Took time.Duration
	Reply
}

// Append puts the reply behind a batch.
func (r *BatchReply) Append(b []byte) []byte {
	if r.Took > 0 {
		var took [binary.MaxVarintLen64]byte
		b = AppendReplyExtension(b, extensionTook, binary.AppendUvarint(took[:0], uint64(r.Took)))
	}
	flags := byte(r.Status) | byte(r.Kind)<<3
	if r.Code != 0 {
		flags |= flagCode
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, r.Client)
	b = binary.AppendUvarint(b, r.Seq)
	if r.Code != 0 {
		b = binary.AppendUvarint(b, uint64(r.Code))
		b = appendString(b, r.Reason)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Data)))
	return append(b, r.Data...)
}

// AppendEventExtension says more of the event that is appended next: data whose meaning
// has a number up to 31. There are none yet.
func AppendEventExtension(b []byte, number uint8, data []byte) []byte {
	return appendString(append(b, eventExtension|number<<3), string(data))
}

// AppendReplyExtension is the same of the reply that is appended next. Number 1 is for how
// long the handler was at the event.
func AppendReplyExtension(b []byte, number uint8, data []byte) []byte {
	return appendString(append(b, replyExtension|number<<3), string(data))
}

// skip takes off the extensions that stand before an event; all are unknown.
func skip(b []byte) []byte {
	for len(b) > 0 && b[0]&flagBits == eventExtension {
		_, _, b = nextExtension(b)
	}
	return b
}

// extensions takes off those that stand before a reply, and reads into it those that are
// known.
func (a *BatchReply) extensions(b []byte) (rest []byte) {
	for len(b) > 0 && b[0]&flagBits == replyExtension {
		var number uint8
		var data []byte
		if number, data, b = nextExtension(b); number == extensionTook {
			r := batchReader{b: data}
			took := r.number()
			if r.bad || took > math.MaxInt64 {
				return nil // which is an error
			}
			a.Took = time.Duration(took)
		}
	}
	return b
}

// nextExtension takes off the first one. There is no rest, which is an error, if it is cut
// short.
func nextExtension(b []byte) (number uint8, data, rest []byte) {
	r := batchReader{b: b[1:]}
	data = r.data()
	return b[0] >> 3, data, r.b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// errBatch is the one way in which a batch can be wrong: it does not end where
// it should, or names what there is not.
var errBatch = fmt.Errorf("bus: %w: a batch", ErrMessage)

// NextEvent takes the first event off a batch. Its Data is shared with it.
func NextEvent(b []byte) (e BatchEvent, rest []byte, err error) {
	if len(b) > 0 && b[0]&flagBits == eventExtension { // rare: a call less for all others
		b = skip(b)
	}
	if len(b) == 0 {
		return e, nil, errBatch
	}
	flags := b[0]
	r := batchReader{b: b[1:]}
	e.Kind = Kind(flags & flagBits)
	e.Client, e.Seq, e.Delivery = r.number(), r.number(), 1
	if flags&flagDelivery != 0 {
		d := r.number()
		if d < 2 || d > 1<<20 {
			r.bad = true
		}
		e.Delivery = int(d)
	}
	if flags&flagUID != 0 {
		e.UID = string(r.data())
	}
	if flags&flagSession != 0 {
		e.State, e.Session = r.number(), string(r.data())
	}
	e.Queue, e.Follow = flags&flagQueue != 0, flags&flagFollow != 0
	e.Data = r.data()
	if r.bad || e.Kind < Open || e.Kind > Close {
		return BatchEvent{}, nil, errBatch
	}
	return e, r.b, nil
}

// NextReply takes the first reply off a batch. Its Data is shared with it.
func NextReply(b []byte) (a BatchReply, rest []byte, err error) {
	if len(b) > 0 && b[0]&flagBits == replyExtension { // rare: a call less for all others
		b = a.extensions(b)
	}
	if len(b) == 0 {
		return a, nil, errBatch
	}
	flags := b[0]
	r := batchReader{b: b[1:]}
	a.Status, a.Kind = Status(flags&flagBits), Kind(flags>>3&7)
	a.Client, a.Seq = r.number(), r.number()
	if flags&flagCode != 0 {
		c := r.number()
		if c == 0 || c > 1<<16 {
			r.bad = true
		}
		a.Code, a.Reason = int(c), string(r.data())
	}
	a.Data = r.data()
	if r.bad || flags >= flagCode<<1 || a.Status > Rejected || a.Kind != 0 && !a.Kind.Frame() {
		return BatchReply{}, nil, errBatch
	}
	return a, r.b, nil
}

// batchReader reads what Append has written. Once it has read beyond the end,
// bad stands.
type batchReader struct {
	b   []byte
	bad bool
}

func (r *batchReader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *batchReader) data() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	d := r.b[:n:n]
	r.b = r.b[n:]
	return d
}

// Check tells whether the reply can be one to an event of the given kind, as
// [ParseReply] would.
func (r *Reply) Check(event Kind) error {
	switch r.Status {
	case Closed:
		return CheckCloseCode(CloseCode(r.Code))
	case Rejected:
		if event != Open {
			return fmt.Errorf("bus: %w: reject answers only an open event", ErrMessage)
		}
		return checkHTTPError(r.Code)
	}
	return nil
}
