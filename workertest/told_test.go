package workertest_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/gatebus/gatebus/worker"
)

// Who has seen a client come in can send to its names at once, though the gateway's
// word on them may come later.
func TestSendToWhoCameIn(t *testing.T) {
	c := start(t, 2)
	cluster := c.Cluster()
	for i := range 300 {
		name := fmt.Sprintf("name %d", i)
		cl := c.Dial(at(i%2, url.Values{"uid": {name}, "group": {name}}))
		for _, err := range []error{
			cluster.SendUID(name, worker.Text, []byte("uid")),
			cluster.SendGroups([]string{"nobody", name}, worker.Text, []byte("groups")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		cl.Expect("uid")
		cl.Expect("groups")
		cl.Close()
	}
}

// What was asked for can be sent to: a name that a gateway has told of in an answer is
// not spared, though its word on names may come later.
func TestSendToWhatWasListed(t *testing.T) {
	c := start(t, 2)
	cluster := c.Cluster()
	anyOf := func(list func(func(worker.NameCount, error) bool), name string) bool {
		for n, err := range list {
			if err != nil {
				t.Fatal(err)
			}
			if n.Name == name {
				return true
			}
		}
		return false
	}
	count := func(counts []int, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		return counts[0] == 1
	}
	for i := range 300 {
		name := fmt.Sprintf("name %d", i)
		cl := c.Dial(at(i%2, url.Values{"uid": {name}, "group": {name}}))
		ctx := t.Context()
		c.Eventually("it is there", func() bool {
			switch i % 6 {
			case 0:
				return anyOf(cluster.UIDs(ctx, worker.NamesQuery{}), name)
			case 1:
				return anyOf(cluster.Groups(ctx, worker.NamesQuery{}), name)
			case 2:
				return count(cluster.CountUIDClients(ctx, name))
			case 3:
				return count(cluster.CountGroupClients(ctx, name))
			}
			for info, err := range cluster.Clients(ctx, worker.ClientsQuery{Fields: []string{worker.FieldUID, worker.FieldGroups}}) {
				if err != nil {
					t.Fatal(err)
				}
				if info.UID == name && slices.Equal(info.Groups, []string{name}) {
					return true
				}
			}
			return false
		})
		var err error
		if i%2 == 0 {
			err = cluster.SendUID(name, worker.Text, []byte("hi"))
		} else {
			err = cluster.SendGroup(name, worker.Text, []byte("hi"))
		}
		if err != nil {
			t.Fatal(err)
		}
		cl.Expect("hi")
		cl.Close()
	}
}
