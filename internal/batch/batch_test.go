package batch_test

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatebus/gatebus/internal/batch"
	"github.com/gatebus/gatebus/internal/running"
)

func add(b *batch.Batcher, n uint32) uint64 {
	return b.End(binary.BigEndian.AppendUint32(b.Begin(), n))
}

// All parts are sent, once, in order; batches are numbered in order.
func TestOrder(t *testing.T) {
	const n = 200_000
	var (
		senders running.Group
		next    uint32
		last    uint64
		batches int
	)
	b := batch.New(func(got batch.Batch) {
		batches++
		if got.Number <= last || len(got.Data) != 4*got.Parts || len(got.Data) > batch.Size+4 {
			t.Errorf("batch %d after %d: %d parts in %d bytes", got.Number, last, got.Parts, len(got.Data))
		}
		last = got.Number
		for d := got.Data; len(d) > 0; d = d[4:] {
			if v := binary.BigEndian.Uint32(d); v != next {
				t.Fatalf("%d is sent, %d is due", v, next)
			}
			next++
		}
	}, senders.Go, nil)
	for i := range uint32(n) {
		add(b, i)
		if i%10_007 == 0 {
			b.Flush()
		}
	}
	senders.Wait()
	if next != n {
		t.Errorf("%d of %d were sent", next, n)
	}
	t.Logf("%d parts in %d batches", n, batches)
}

// While a batch is sent, others are added to the next one; a flush waits for
// both.
func TestBatches(t *testing.T) {
	var senders running.Group
	started, release := make(chan struct{}), make(chan struct{})
	var sent []batch.Batch
	b := batch.New(func(got batch.Batch) {
		got.Data = nil
		if sent = append(sent, got); len(sent) == 1 {
			close(started)
			<-release
		}
	}, senders.Go, nil)
	first := add(b, 0)
	<-started
	var second uint64
	for i := range uint32(100) {
		second = add(b, i)
	}
	flushed := make(chan struct{})
	go func() { b.Flush(); close(flushed) }()
	select {
	case <-flushed:
		t.Error("flushed while a batch was on its way")
	default:
	}
	close(release)
	<-flushed
	if len(sent) != 2 || sent[0].Number != first || sent[1].Number != second || sent[1].Parts != 100 {
		t.Errorf("%d and %d were sent as %+v", first, second, sent)
	}
	if n := b.Number(); n != second+1 {
		t.Errorf("the next batch is number %d", n)
	}
	senders.Wait()
}

// A batcher that may start no goroutine any more still sends when it is flushed.
func TestRefusedSpawn(t *testing.T) {
	sent := 0
	b := batch.New(func(got batch.Batch) { sent += got.Parts }, func(func()) bool { return false }, nil)
	for i := range uint32(10) {
		add(b, i)
	}
	if sent != 0 {
		t.Fatalf("%d were sent by nobody", sent)
	}
	if b.Flush(); sent != 10 {
		t.Errorf("a flush sent %d of 10", sent)
	}
}

// While the cork is in, what is added waits, and leaves in one batch when it is
// pulled, or by a flush.
func TestCork(t *testing.T) {
	var (
		cork    batch.Cork
		senders running.Group
		sent    = make(chan int, 100)
	)
	b := batch.New(func(got batch.Batch) { sent <- got.Parts }, senders.Go, &cork)
	cork.Put()
	for i := range uint32(10) {
		add(b, i)
	}
	if b.Flush(); len(sent) != 1 || <-sent != 10 {
		t.Error("a flush did not send what was kept back")
	}
	cork.Put() // by somebody else
	for i := range uint32(20) {
		add(b, i)
	}
	if len(sent) > 0 {
		t.Error("sent while the cork was in")
	}
	cork.Pull()
	if n := <-sent; n != 20 {
		t.Errorf("a batch of %d of 20", n)
	}
	cork.Pull()
	add(b, 0)
	if n := <-sent; n != 1 {
		t.Errorf("a batch of %d though the cork is out", n)
	}
	senders.Wait()
}

// Who pulls the cork sends what was there, and is not kept by what others add
// meanwhile: a goroutine takes that.
func TestPullEnds(t *testing.T) {
	var (
		cork    batch.Cork
		senders running.Group
		sent    atomic.Int64
		b       *batch.Batcher
	)
	mine, others := true, 0
	b = batch.New(func(got batch.Batch) {
		sent.Add(int64(got.Parts))
		if mine { // as if somebody always added something while a batch is sent
			if others++; others > 100 {
				t.Fatal("never let go")
			}
			done := make(chan struct{})
			go func() { add(b, 0); close(done) }()
			<-done
		}
	}, func(fn func()) bool { mine = false; return senders.Go(fn) }, &cork)
	cork.Put()
	add(b, 1)
	cork.Pull()
	senders.Wait()
	if others != 1 || sent.Load() != 2 {
		t.Errorf("%d batches sent by the caller, %d parts in all", others, sent.Load())
	}
}

// Notes go with the batch of their part, in order, and count for what makes it full.
func TestNotes(t *testing.T) {
	var senders running.Group
	parts, notes, batches := 0, 0, 0
	b := batch.New(func(got batch.Batch) {
		batches++
		size := len(got.Data)
		first := parts
		for d := got.Data; len(d) > 0; d = d[4:] {
			v := binary.BigEndian.Uint32(d)
			parts++
			if v%2 == 1 {
				continue
			}
			want := strings.Repeat("n", 100) + strconv.Itoa(int(v))
			if i := (int(v) - (first + first%2)) / 2; got.Notes == nil || i >= len(got.Notes.Texts) || got.Notes.Texts[i] != want {
				t.Fatalf("part %d has not its note", v)
			}
			notes++
			size += len(want)
		}
		if got.Notes != nil && len(got.Notes.Texts) > (got.Parts+1)/2 || size > batch.Size+200 {
			t.Errorf("%d parts with %v in %d bytes", got.Parts, got.Notes, size)
		}
	}, senders.Go, nil)
	const n = 20_000
	for i := range n {
		data := binary.BigEndian.AppendUint32(b.Begin(), uint32(i))
		if i%2 == 0 {
			b.EndNoted(data, strings.Repeat("n", 100)+strconv.Itoa(i))
		} else {
			b.End(data)
		}
	}
	b.Flush()
	senders.Wait()
	if parts != n || notes != n/2 || batches < n*54/batch.Size {
		t.Errorf("%d parts with %d notes in %d batches", parts, notes, batches)
	}
}
