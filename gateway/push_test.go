package gateway

import (
	"testing"
	"testing/synctest"

	"github.com/gatebus/gatebus/bus"
)

func TestPushes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		var rec recorder
		ids := f.admit(&rec)
		a := f.dialReply("/a", `{"uid":"u","groups":["x","y"]}`)
		b := f.dialReply("/b", `{"uid":"u","groups":["x"]}`)
		c := f.dialReply("/c", `{}`)
		synctest.Wait()
		equal(t, "client", f.push(bus.ToClient, string(ids["/c"]), "1"), bus.Result{Gateway: "g1", Clients: 1})
		equal(t, "nobody", f.push(bus.ToClient, "g1-1-1", "1").Clients, 0)
		equal(t, "uid", f.push(bus.ToUID, "u", "2").Clients, 2)
		equal(t, "uid but one", f.push(bus.ToUID, "u", "3", ids["/a"]).Clients, 1)
		equal(t, "group", f.push(bus.ToGroup, "y", "4").Clients, 1)
		equal(t, "all", f.push(bus.ToAll, "", "5").Clients, 3)
		equal(t, "all but two", f.push(bus.ToAll, "", "6", ids["/a"], ids["/b"]).Clients, 1)
		bin := f.ask(&bus.Msg{Subject: "gw.g1.push.all", Data: []byte{0xff}, Header: bus.Header{bus.HeaderKind: {"binary"}}})
		equal(t, "binary", bin.Clients, 3)
		empty := f.ask(&bus.Msg{Subject: "gw.g1.push.client." + string(ids["/c"])})
		equal(t, "empty", empty.Clients, 1)
		synctest.Wait()
		equal(t, "a", a.got(), "2 4 5 <\xff>")
		equal(t, "b", b.got(), "2 3 5 <\xff>")
		equal(t, "c", c.got(), "1 5 6 <\xff> ")

		for _, m := range []*bus.Msg{
			{Subject: "gw.g1.push.all", Data: []byte{0xff}},
			{Subject: "gw.g1.push.all.x"},
			{Subject: "gw.g1.push.uid"},
			{Subject: "gw.g1.push.uid.%zz"},
			{Subject: "gw.g1.push.everybody"},
			{Subject: "gw.g1.push.all", Header: bus.Header{bus.HeaderKind: {"open"}}},
			{Subject: "gw.g1.do.dance"},
			{Subject: "gw.g1.do.close", Data: []byte("{")},
			{Subject: "gw.g1.do.close", Data: []byte(`{"client":"x"}`)},
			{Subject: "gw.g1.do.close", Data: []byte(`{"client":"g1-1-1","code":1006}`)},
		} {
			if r := f.ask(m); r.Error == "" || r.Clients != 0 {
				t.Errorf("%s %q: %+v", m.Subject, m.Data, r)
			}
		}
		synctest.Wait()
		equal(t, "nobody got any of that", a.got()+b.got()+c.got(), "")
	})
}

// What a worker pushes before its reply arrives before it.
func TestPushBeforeReply(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		f.plainWorker(func(ev bus.Event, reply string) []*bus.Msg {
			push := "gw.g1.push.client." + string(ev.Client)
			return []*bus.Msg{
				{Subject: push, Data: []byte("1-" + ev.Kind.String())},
				{Subject: push, Data: []byte("2-" + ev.Kind.String())},
				echo(ev).Msg(ev.Kind, reply),
			}
		})
		p := f.dial("/")
		p.send("a")
		synctest.Wait()
		equal(t, "frames", p.got(), "1-open 2-open 1-text 2-text a")
	})
}

func TestAttach(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fixture) {
		registers := f.bus.Connect()
		defer registers.Close()
		if err := f.gw.Attach(registers); err != nil {
			t.Fatal(err)
		}
		f.worker(echo)
		p := f.dial("/")
		equal(t, "through the registers", f.ask(&bus.Msg{Subject: "gw.all.push.all", Data: []byte("x")}).Clients, 1)
		synctest.Wait()
		equal(t, "frame", p.got(), "x")
	})
}
