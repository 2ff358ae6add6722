// Package deadline keeps values that all wait equally long in the order they
// are due, at constant cost and without allocating: a first-in-first-out list
// whose nodes live in the values themselves.
package deadline

import "time"

// Node is the place of one value in a List. The zero Node with its Value set
// is ready for use; it stands in one list at most.
type Node[T any] struct {
	Value T

	due        time.Time
	list       *List[T]
	prev, next *Node[T]
}

// Listed tells whether the node stands in a list.
func (n *Node[T]) Listed() bool { return n.list != nil }

// Due is when the node is due; meaningful while it is listed.
func (n *Node[T]) Due() time.Time { return n.due }

// List is a list of nodes. The zero List is empty. It is not safe for
// concurrent use.
type List[T any] struct {
	front, back *Node[T]
	len         int
}

// Len is the number of nodes.
func (l *List[T]) Len() int { return l.len }

// Front is the node that is due first, nil if the list is empty.
func (l *List[T]) Front() *Node[T] { return l.front }

// Next is the node due after n, nil if n is the last.
func (l *List[T]) Next(n *Node[T]) *Node[T] { return n.next }

// Push puts the node last, taking it from where it stood before.
func (l *List[T]) Push(n *Node[T], due time.Time) {
	n.Remove()
	n.due, n.list, n.prev = due, l, l.back
	if l.back != nil {
		l.back.next = n
	} else {
		l.front = n
	}
	l.back = n
	l.len++
}

// PushFront puts the node first, taking it from where it stood before.
func (l *List[T]) PushFront(n *Node[T], due time.Time) {
	n.Remove()
	n.due, n.list, n.next = due, l, l.front
	if l.front != nil {
		l.front.prev = n
	} else {
		l.back = n
	}
	l.front = n
	l.len++
}

// Remove takes the node from its list, if it stands in one.
func (n *Node[T]) Remove() {
	l := n.list
	if l == nil {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.front = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.back = n.prev
	}
	l.len--
	n.list, n.prev, n.next = nil, nil, nil
}
