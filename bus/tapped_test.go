package bus

import (
	"encoding/json"
	"errors"
	"testing"
)

const tappedClient ClientID = "g1-dpmq2x0sn1-7"

func TestParseTapped(t *testing.T) {
	reply := Reply{Data: []byte("ho"), Kind: Text}
	many := Push{Target: Target{Scope: ToGroups}, Names: []string{"a.b", "c"}, Kind: Binary, Data: []byte("x")}
	push, err := many.Msg("g1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    *Msg
		want string
	}{
		{
			&Msg{Subject: EventSubject("g1", "default", Text), Data: []byte("h\x1b[2Ji"), Header: Header{
				HeaderClient: {string(tappedClient)}, HeaderSeq: {"3"}, HeaderUID: {"%C3%B6"}, HeaderDelivery: {"2"},
			}},
			`{"gateway":"g1","way":"in","kind":"text","client":"g1-dpmq2x0sn1-7","uid":"ö","worker_group":"default","seq":3,"delivery":2,"size":6,"text":"h\u001b[2Ji"}`,
		},
		{reply.Msg(Text, ReplySubject("g1", tappedClient, 9)), `{"gateway":"g1","way":"out","client":"g1-dpmq2x0sn1-7","seq":9,"size":2,"text":"ho"}`},
		{(&Reply{Status: Busy}).Msg(Text, ReplySubject("g1", tappedClient, 9)), `{"gateway":"g1","way":"out","client":"g1-dpmq2x0sn1-7","seq":9,"status":"busy","size":0}`},
		{push, `{"gateway":"g1","way":"push","kind":"binary","to":"groups","names":["a.b","c"],"size":1,"binary":"eA=="}`},
		{&Msg{Subject: "gw.all.push.all", Data: []byte{0xff}}, `{"gateway":"all","way":"push","kind":"text","to":"all","size":1,"binary":"/w=="}`},
		{&Msg{Subject: CommandSubject("g1", "list"), Data: []byte("{}")}, `{"gateway":"g1","way":"do","operation":"list","size":2,"text":"{}"}`},
		{
			&Msg{Subject: ClientTapSubject("g1", tappedClient, true, Open), Header: Header{HeaderSize: {"17"}}},
			`{"gateway":"g1","way":"in","kind":"open","client":"g1-dpmq2x0sn1-7","size":17,"hidden":true}`,
		},
		{
			&Msg{Subject: ClientTapSubject("g1", tappedClient, false, Binary), Data: []byte("ok")},
			`{"gateway":"g1","way":"out","kind":"binary","client":"g1-dpmq2x0sn1-7","size":2,"binary":"b2s="}`,
		},
		{Skipped{Gateway: "g1", Skipped: 8}.Msg(), `{"gateway":"g1","way":"skipped","skipped":8,"size":0}`},
	} {
		got, err := ParseTapped(c.m)
		if err != nil {
			t.Errorf("%s: %v", c.m.Subject, err)
			continue
		}
		if data, _ := json.Marshal(got); string(data) != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.m.Subject, data, c.want)
		}
	}
	for _, m := range []*Msg{
		{Subject: "reg.members"}, {Subject: "gw.g1"}, {Subject: "gw.g1.batch.x"}, {Subject: "gw.g1.in.default"},
		{Subject: "gw.g1.out.x"}, {Subject: "gw.g1.tap.skipped", Data: []byte("x")}, {Subject: "gw.g1.tap.x.in.text"},
		{Subject: "gw.g1.tap." + string(tappedClient) + ".at.text"}, {Subject: "gw.g1.tap." + string(tappedClient) + ".in.do"},
		{Subject: "gw.g1.in.default.text", Header: Header{HeaderSeq: {"x"}}}, {Subject: "gw.g1.push.groups"},
	} {
		if got, err := ParseTapped(m); !errors.Is(err, ErrSubject) && !errors.Is(err, ErrMessage) && !errors.Is(err, ErrName) {
			t.Errorf("%s: %+v, %v", m.Subject, got, err)
		}
	}
}
