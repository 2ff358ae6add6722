package portfuzz

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
)

// The gateways. On wild nobody behaves.
const (
	front bus.GatewayID = "front"
	wild  bus.GatewayID = "wild"
	// group is the worker group of front whose clients are the actors' own.
	group = "fuzz"
)

// commands are requests to a gateway, by operation. Those of wild can also be about all.
var commands = []struct{ op, data string }{
	{bus.OpBind, `{"client":"wild-1-1","uid":"fuzz1","others":"replace","code":4100,"reason":"x"}`},
	{bus.OpUnbind, `{"uid":"fuzz1"}`},
	{bus.OpJoin, `{"group":"fuzz1","groups":["fuzz2","fuzz3"]}`},
	{bus.OpLeave, `{"uid":"fuzz1","groups":["fuzz2"],"except":["front-1-1"]}`},
	{bus.OpDissolve, `{"group":"fuzz1"}`},
	{bus.OpSession, `{"client":"wild-1-1","merge":{"a":{"b":[1]}},"if_version":1}`},
	{bus.OpSession, `{"client":"wild-1-1","set":{"a":"\ud800"}}`},
	{bus.OpInfo, `{"client":"wild-1-1"}`},
	{bus.OpCount, `{"of":"uids","group":"fuzz1"}`},
	{bus.OpCount, `{"of":"clients","uids":["fuzz1","fuzz2"],"claims":true}`},
	{bus.OpList, `{"of":"clients","fields":["uid","groups","session","open"],"limit":3,"after":"front-1-1"}`},
	{bus.OpList, `{"of":"groups","limit":18446744073709551615,"after":"a"}`},
	{bus.OpClose, `{"uid":"fuzz1","code":4100,"reason":"x","text":"y","before":{"client":"wild-1-1","at":1}}`},
	{bus.OpHello, ``},
	{bus.OpNames, `{"worker":"fuzz1.1","request":1}`},
	{"nothing", `{}`},
}

// harm is what the key of a worker lets one do to all clients of a gateway.
var harm = regexp.MustCompile(`^gw\.(front|all|\*|>)`)

// spares tells whether a message is about nobody who behaves.
func (m *natsMessage) spares() bool {
	if !harm.MatchString(m.subject) {
		return true
	}
	return !strings.Contains(m.subject, "push.all") && !strings.Contains(string(m.data), `"all"`)
}

// toGateway is a message to a gateway, by one whose key allows it, or not.
func toGateway(d dice, g bus.GatewayID, login natsLogin) natsMessage {
	root := "gw." + string(g) + "."
	m := natsMessage{data: d.bytes(2000)}
	if d.once(3) {
		m.reply = of(d, "_INBOX.fuzz.1", "_INBOX_application.x", "_INBOX_observer.x", root+"push.group.fuzz1", d.word())
	}
	switch d.IntN(7) {
	case 0, 1:
		c := of(d, commands...)
		m.subject, m.data = root+"do."+d.maybe(c.op), []byte(c.data)
		if g == wild && d.once(6) {
			m.data = []byte(`{"all":true,"groups":["fuzz1"],"code":4100}`)
		}
		if d.once(2) {
			m.data = d.mutate(m.data)
		}
	case 2, 3:
		scope := of(d, "client.wild-1-1", "uid.fuzz1", "group.fuzz1", "clients", "uids", "groups", "uid."+d.word())
		if g == wild && d.once(4) {
			scope = "all"
		}
		m.subject, m.header = root+"push."+scope, pushHeader(d)
	case 4:
		m.subject = fmt.Sprintf("%sreplies.fuzz%d.%d", root, d.IntN(4), login.id)
		m.data = d.mutate(batchOfReplies(d, bus.Epoch(d.number()), 3))
	case 5:
		m.subject, m.data = root+"held."+d.digits(), heldBy(d, login, nil)
	case 6:
		m.subject = of(d, root+"in."+group+".text", root+"at.fuzz1.1.text", root+"batch.fuzz1.1", root+"names", root+"ask.held", root+"out.wild-1-1."+d.digits(), "$SYS.REQ.SERVER.PING", d.word())
	}
	m.subject = oneWord(d.maybe(m.subject))
	return m
}

// oneWord is s without what would end it in the protocol: that is for others to try.
func oneWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return '_'
		}
		return r
	}, s)
}

func pushHeader(d dice) (h []string) {
	for range d.IntN(3) {
		h = append(h, of(d, "Gb-Kind: "+d.maybe("text"), "Gb-Kind: binary", "Gb-To: "+d.maybe("fuzz1,fuzz2,a%2Eb"), "Gb-Except: "+d.maybe("wild-1-1"), "Gb-Client: x", line(d.word())+": "+line(d.word())))
	}
	return h
}

// line is s without line breaks.
func line(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }

// batchOfReplies is what a worker of the SDK answers, to clients that there may not be.
func batchOfReplies(d dice, e bus.Epoch, n int) []byte {
	b := bus.BeginBatch(nil, e)
	for range d.IntN(n + 1) {
		r := bus.BatchReply{Client: d.number() | 1<<40, Seq: d.number(), Reply: anyReply(d)}
		b = r.Append(b)
	}
	return b
}

func anyReply(d dice) bus.Reply {
	r := bus.Reply{Status: bus.Status(d.IntN(8)), Kind: bus.Kind(d.IntN(8)), Data: d.bytes(500)}
	if d.once(3) {
		r.Code, r.Reason = int(d.number()&0xffff), d.word()
	}
	return r
}

// heldBy is a worker's answer about what it holds.
func heldBy(d dice, login natsLogin, events []bus.EventID) []byte {
	h := bus.Held{Connection: bus.ConnID(login.id), Events: events, More: d.once(8)}
	for range d.IntN(4) {
		h.Events = append(h.Events, bus.EventID{Client: "wild-1-1", Seq: d.number()})
	}
	if d.once(6) {
		h.Connection = bus.ConnID(d.number())
	}
	data, err := json.Marshal(h)
	if err != nil {
		return d.bytes(10)
	}
	if d.once(3) {
		data = d.mutate(data)
	}
	return data
}

// toRegister is a message to a register.
func toRegister(d dice) natsMessage {
	if d.once(3) {
		return toGateway(d, of(d, front, wild, bus.AllGateways), natsLogin{})
	}
	m := natsMessage{reply: of(d, "", "_INBOX.fuzz.1", "_INBOX_observer.fuzz", "_INBOX_gateway.fuzz")}
	role := of(d, register.RoleWorker, register.RoleWorker, register.RoleGateway, register.RoleRegister)
	switch d.IntN(6) {
	case 0, 1:
		m.subject, m.data = register.AnnounceSubject(role), member(d, role)
	case 2:
		m.subject, m.data = register.LeaveSubject(role), member(d, role)
	case 3:
		m.subject = of(d, register.MembersSubject, "$SRV.PING", "$SRV.INFO", "$SRV.STATS."+register.ServiceName(role), register.StatsSubject(role, "fuzz1"), d.word())
		m.data = d.bytes(300)
	case 4:
		m.subject, m.header = "reg.answer."+group+".fuzz"+d.digits()+"."+d.digits(), statusHeader(d)
	case 5:
		m.subject = of(d, register.DownSubject(group), register.PendingSubject, bus.TapsSubject)
		m.data = d.mutate([]byte(of(d, `{"gateway":"fuzz1","epoch":"1","address":"127.0.0.1:1"}`, `{"register":"fuzz1","notices":[{"group":"fuzz","gateway":"fuzz1","epoch":"1"}]}`, `{"register":"fuzz1","subjects":["gw.>"]}`)))
	}
	m.subject = oneWord(d.maybe(m.subject))
	return m
}

// member is what one that does not exist says about itself.
func member(d dice, role register.Role) []byte {
	m := register.Member{
		Role: role, Name: "fuzz" + string('0'+rune(d.IntN(10))), Epoch: bus.Epoch(d.number()), Address: of(d, "127.0.0.1:1", "127.0.0.1:2", "[::1]:1", "fuzz", "127.0.0.1:99999"),
		Group: of(d, group, "default", d.name()), MoreGroups: of(d, "", "", "fuzz1,fuzz2", d.name()), AckWait: int64(d.number()), Version: of(d, "", "0", d.word()),
	}
	if d.once(10) {
		m.Name = d.name()
	}
	if d.once(10) {
		m.Bus = of(d, "nats://127.0.0.1:1", "nats://127.0.0.1:1,nats://127.0.0.1:2", "x", "nats://:1")
	}
	data, err := json.Marshal(m)
	if err != nil {
		return d.bytes(10)
	}
	if d.once(3) {
		data = d.mutate(data)
	}
	return data
}

func statusHeader(d dice) []string {
	return of(d, nil, []string{"Gb-Status: " + line(d.maybe(of(d, "busy", "working", "close 4100 bye", "close", "reject 403 no", "reject 999", "x")))},
		[]string{"Gb-Kind: " + line(d.maybe(of(d, "text", "binary", "open")))},
		[]string{"Gb-Worker: " + line(d.maybe("fuzz1.1")), "Gb-Status: busy"})
}

// roleActors are those at a NATS server, with each key that gets in there.
func (s *stage) roleActors(at natsPort) (all []*actor) {
	all = append(all, &actor{name: at.name + "/stranger", dial: tcp(at.addr), say: s.strange})
	for _, role := range at.roles {
		a := &actor{name: at.name + "/" + string(role), dial: tcp(at.addr), begin: s.login(role)}
		a.say = func(d dice, t *talk) []byte { return says(d, at, role, t) }
		a.answer = answers
		all = append(all, a)
	}
	return all
}

// says is what somebody says who has logged in.
func says(d dice, at natsPort, role keys.Role, t *talk) []byte {
	if d.once(8) { // what is wrong already as a line
		var b []byte
		for range 1 + d.IntN(6) {
			b = append(b, natsLine(d)...)
		}
		return b
	}
	b := subscriptions(d, at, role)
	for range d.IntN(12) {
		m := toRegister(d)
		if at.gateway != "" {
			m = toGateway(d, at.gateway, t.nats)
		}
		if m.spares() {
			b = m.publish(b)
		}
	}
	return b[:min(len(b), maxSaid)]
}

// subscriptions are those that a role may have, and some that it may not.
func subscriptions(d dice, at natsPort, role keys.Role) (b []byte) {
	sub := func(subject string) {
		if d.once(2) {
			b = fmt.Appendf(b, "SUB %s %d\r\n", subject, 1+d.IntN(8))
		}
	}
	sub(keys.InboxPrefix(role) + ".>")
	sub(oneWord(of(d, "$SYS.>", "$SRV.PING", "_INBOX.>", "fuzz."+d.word())))
	if at.gateway == "" {
		sub("reg.down." + group + " " + group)
		sub(of(d, "gw.>", "reg.announce.gateway", "reg.answer.>", bus.ClientTap(wild, "wild-1-1")))
		return b
	}
	g := "gw." + string(at.gateway) + "."
	serves := group
	if at.gateway == wild {
		serves = of(d, group, "default", "*", ">")
	}
	queue := of(d, serves, serves, "fuzz"+serves)
	instance := fmt.Sprintf("fuzz%d", d.IntN(4))
	sub(g + "in." + serves + ".* " + oneWord(queue))
	sub(g + "ask.held")
	sub(g + "at." + instance + ".>")
	sub(g + "batch." + instance + ".*")
	sub(g + "names.>")
	return b
}
