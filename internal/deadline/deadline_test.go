package deadline

import (
	"slices"
	"testing"
	"time"
)

func values(l *List[int]) []int {
	var vs []int
	for n := l.Front(); n != nil; n = l.Next(n) {
		vs = append(vs, n.Value)
	}
	return vs
}

func TestList(t *testing.T) {
	var l List[int]
	nodes := make([]Node[int], 5)
	now := time.Now()
	for i := range nodes {
		nodes[i].Value = i
		l.Push(&nodes[i], now.Add(time.Duration(i)*time.Second))
	}
	check := func(what string, want ...int) {
		t.Helper()
		if got := values(&l); !slices.Equal(got, want) || l.Len() != len(want) {
			t.Fatalf("%s: %v (len %d), want %v", what, got, l.Len(), want)
		}
	}
	check("pushed", 0, 1, 2, 3, 4)
	nodes[2].Remove()
	nodes[2].Remove() // twice is once
	check("middle removed", 0, 1, 3, 4)
	if nodes[2].Listed() || !nodes[3].Listed() {
		t.Fatal("Listed is wrong")
	}
	l.Push(&nodes[0], now.Add(time.Minute))
	check("first moved back", 1, 3, 4, 0)
	if got := nodes[0].Due(); !got.Equal(now.Add(time.Minute)) {
		t.Fatalf("due %v", got)
	}
	nodes[0].Remove()
	check("last removed", 1, 3, 4)
	l.PushFront(&nodes[2], now)
	check("pushed to the front", 2, 1, 3, 4)
	for l.Front() != nil {
		l.Front().Remove()
	}
	check("emptied")
	l.PushFront(&nodes[4], now)
	check("again", 4)

	var other List[int]
	other.Push(&nodes[4], now)
	check("moved to another list")
	if other.Len() != 1 {
		t.Fatal("the other list lacks it")
	}
}
