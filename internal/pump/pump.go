// Package pump moves messages from a bounded buffer into a callback, one at a
// time and in order, on one goroutine.
package pump

import (
	"context"
	"sync"
	"sync/atomic"
)

// Pump is a bounded buffer with one goroutine that empties it. C may be filled
// by anybody, without blocking: whoever finds it full drops and counts.
type Pump[T comparable] struct {
	C chan T

	last  chan struct{} // closed when nothing more will be put into C
	done  chan struct{} // closed when Run has returned
	drain sync.Once

	drained bool // owned by Run until done is closed

	marks  atomic.Int32 // len of marked: no lock while there are none
	mu     sync.Mutex
	marked map[T]chan struct{}
}

// New makes a pump that holds size values.
func New[T comparable](size int) *Pump[T] {
	return &Pump[T]{
		C: make(chan T, size), last: make(chan struct{}), done: make(chan struct{}),
		marked: map[T]chan struct{}{},
	}
}

// Mark puts a value into C that is not for the callback; it waits for room
// unless stop ends. What it returns is closed when the callback has returned
// for all that was in C before. The value must be unlike any other.
func (p *Pump[T]) Mark(stop context.Context, v T) (passed <-chan struct{}) {
	ch := make(chan struct{})
	p.mu.Lock()
	p.marked[v] = ch
	p.marks.Add(1)
	p.mu.Unlock()
	select {
	case p.C <- v:
	case <-stop.Done():
	}
	return ch
}

// handle calls fn for a value, unless that is a mark.
func (p *Pump[T]) handle(v T, fn func(T)) {
	if p.marks.Load() > 0 {
		p.mu.Lock()
		ch, ok := p.marked[v]
		if ok {
			delete(p.marked, v)
			p.marks.Add(-1)
			close(ch)
		}
		p.mu.Unlock()
		if ok {
			return
		}
	}
	fn(v)
}

// Run calls fn for every value until the pump is drained, or at once when stop
// ends. It is called once.
func (p *Pump[T]) Run(stop context.Context, fn func(T)) {
	defer close(p.done)
	for {
		select {
		case v := <-p.C:
			p.handle(v, fn)
		case <-stop.Done():
			return
		case <-p.last:
			p.drained = p.empty(stop, fn)
			return
		}
	}
}

// empty calls fn for what is in C and tells whether that was all: stop may
// have ended first.
func (p *Pump[T]) empty(stop context.Context, fn func(T)) bool {
	for stop.Err() == nil {
		select {
		case v := <-p.C:
			p.handle(v, fn)
		default:
			return true
		}
	}
	return false
}

// Drain says that nothing more is put into C: Run returns when it is empty.
func (p *Pump[T]) Drain() { p.drain.Do(func() { close(p.last) }) }

// Done is closed when Run has returned.
func (p *Pump[T]) Done() <-chan struct{} { return p.done }

// Drained tells, once Done is closed, whether Run returned because the pump was
// drained, and so whether fn was called for every value.
func (p *Pump[T]) Drained() bool { return p.drained }
