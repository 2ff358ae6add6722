package bus_test

import (
	"fmt"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/bus/membus"
)

func ExampleEventSubject() {
	fmt.Println(bus.EventSubject("g1", "default", bus.Text))
	fmt.Println(bus.EventSubjects("g1", "default"))
	// Output:
	// gw.g1.in.default.text
	// gw.g1.in.default.*
}

func ExampleReplySubject() {
	client := bus.NewClientID("g1", 36, 7)
	fmt.Println(bus.ReplySubject("g1", client, 3))
	// Output: gw.g1.out.g1-10-7.3
}

func ExamplePushSubject() {
	for _, t := range []bus.Target{
		{Scope: bus.ToGroup, Name: "room1"},
		{Scope: bus.ToUID, Name: "alice@example.com"},
		{Scope: bus.ToAll},
	} {
		s, err := bus.PushSubject(bus.AllGateways, t)
		fmt.Println(s, err)
	}
	// Output:
	// gw.all.push.group.room1 <nil>
	// gw.all.push.uid.alice%40example%2Ecom <nil>
	// gw.all.push.all <nil>
}

func ExampleReply_Msg() {
	r := bus.Reply{Status: bus.Closed, Code: 4401, Reason: "log in first"}
	m := r.Msg(bus.Text, "gw.g1.out.g1-10-7.3")
	fmt.Println(m.Header.Get(bus.HeaderStatus))
	// Output: close 4401 log in first
}

// The least a worker does: take part in the queue group, answer on the reply
// subject.
func ExampleConn() {
	var b membus.Bus
	gateway, worker := b.Connect(), b.Connect()
	defer gateway.Close()
	defer worker.Close()

	_, err := worker.QueueSubscribe(bus.EventSubjects("g1", "default"), "default", func(m *bus.Msg) {
		if err := worker.Publish(&bus.Msg{Subject: m.Reply, Data: m.Data}); err != nil {
			fmt.Println(err)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	answers := make(chan *bus.Msg)
	if _, err := gateway.Subscribe(func(m *bus.Msg) { answers <- m }, bus.ReplySubjects("g1")); err != nil {
		fmt.Println(err)
		return
	}
	e := bus.Event{Gateway: "g1", Group: "default", Kind: bus.Text, Client: "g1-10-7", Seq: 1, Data: []byte("hello")}
	m, err := e.Msg()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := gateway.Publish(m); err != nil {
		fmt.Println(err)
		return
	}
	m = <-answers
	r, err := bus.ParseReply(bus.Text, m)
	fmt.Printf("%s: %s %q %v\n", m.Subject, r.Kind, r.Data, err)
	// Output: gw.g1.out.g1-10-7.1: text "hello" <nil>
}
