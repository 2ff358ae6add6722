package portfuzz

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/gatebus/gatebus/internal/keys"
)

// natsLogin is what a connection to a NATS server has learned of itself.
type natsLogin struct {
	id uint64 // the server's number for it
}

// natsMessage is one in the terms of the protocol.
type natsMessage struct {
	subject, reply string
	header         []string // lines
	data           []byte
}

// publish is the message as PUB or HPUB.
func (m *natsMessage) publish(b []byte) []byte {
	reply := ""
	if m.reply != "" {
		reply = m.reply + " "
	}
	if m.header == nil {
		return fmt.Appendf(b, "PUB %s %s%d\r\n%s\r\n", m.subject, reply, len(m.data), m.data)
	}
	header := "NATS/1.0\r\n" + strings.Join(m.header, "\r\n") + "\r\n\r\n"
	return fmt.Appendf(b, "HPUB %s %s%d %d\r\n%s%s\r\n", m.subject, reply, len(header), len(header)+len(m.data), header, m.data)
}

// takeMessage takes the first message off what a server has said. It is false if there
// is none that is whole; what is none is taken off on the way.
func takeMessage(b []byte) (m natsMessage, pings int, rest []byte, ok bool) {
	for {
		line, after, whole := bytes.Cut(b, []byte("\r\n"))
		if !whole {
			return m, pings, b, false
		}
		f := strings.Fields(string(line))
		if len(f) == 0 || f[0] != "MSG" && f[0] != "HMSG" {
			if len(f) > 0 && f[0] == "PING" {
				pings++
			}
			b = after
			continue
		}
		numbers := 1
		if f[0] == "HMSG" {
			numbers = 2
		}
		size, err := strconv.Atoi(f[len(f)-1])
		if err != nil || len(f) < 3+numbers {
			return m, pings, nil, false // no server says that
		}
		if len(after) < size+2 {
			return m, pings, b, false
		}
		m = natsMessage{subject: f[1], data: after[:size]}
		if len(f) == 4+numbers {
			m.reply = f[3]
		}
		if numbers == 2 {
			if head, err := strconv.Atoi(f[len(f)-2]); err == nil && head <= size {
				m.data = after[head:size]
			}
		}
		return m, pings, after[size+2:], true
	}
}

// login logs in with the key of a role.
func (s *stage) login(role keys.Role) func(*talk) error {
	return func(t *talk) error {
		line, err := t.until("\r\n")
		if err != nil {
			return err
		}
		var info struct {
			Nonce string `json:"nonce"`
			ID    uint64 `json:"client_id"`
		}
		text, ok := strings.CutPrefix(line, "INFO ")
		if !ok {
			return errors.New("portfuzz: the server says no INFO")
		}
		if err := json.Unmarshal([]byte(text), &info); err != nil {
			return err
		}
		t.nats.id = info.ID
		sig, err := s.keys.Signer(role)([]byte(info.Nonce))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(t.conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"fuzz\",\"version\":\"0\",\"protocol\":1,\"headers\":true,\"no_responders\":true,\"name\":\"fuzz\",\"nkey\":%q,\"sig\":%q}\r\nPING\r\n",
			s.keys.Public(role), base64.RawURLEncoding.EncodeToString(sig)); err != nil {
			return err
		}
		line, err = t.until("\r\n")
		if err == nil && line != "PONG" {
			err = fmt.Errorf("portfuzz: %.80s: %w", line, net.ErrClosed)
		}
		return err
	}
}

// strange is what somebody says to a NATS server who has not logged in.
func (s *stage) strange(d dice, _ *talk) []byte {
	connect := of(d, "{}", `{"nkey":"U","sig":"AAAA"}`, `{"user":"gatebus-route","pass":"x"}`, `{"jwt":"a.b.c","sig":"x"}`, `{"auth_token":"x","verbose":true,"pedantic":true}`,
		strings.Repeat("[", d.length(8000)), fmt.Sprintf(`{"nkey":%q,"sig":%q,"tls_required":true}`, s.keys.Public(keys.RoleWorker), d.word()))
	b := []byte("CONNECT " + d.maybe(connect) + "\r\n")
	for range d.IntN(8) {
		b = append(b, natsLine(d)...)
	}
	return of(d, b, d.mutate(b), records(d), d.bytes(4096), []byte("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), natsLine(d))
}

// natsLine is an operation of the protocol, or nearly. It is about nobody who behaves.
func natsLine(d dice) []byte {
	n := d.digits()
	return d.mutate([]byte(of(d,
		"PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'x'\r\n", "INFO {\"max_payload\":1}\r\n", "CONNECT {}\r\n",
		"PUB fuzz "+n+"\r\nx\r\n", "PUB fuzz fuzz.reply 1\r\nx\r\n", "PUB "+strings.Repeat("a.", d.length(3000))+"a 0\r\n\r\n",
		"HPUB fuzz "+n+" "+d.digits()+"\r\nNATS/1.0\r\n\r\n\r\n", "HPUB fuzz 12 12\r\nNATS/1.0\r\n\r\n\r\n", "HPUB fuzz 22 22\r\nNATS/1.0 503 x\r\na\r\n\r\n\r\n",
		"SUB fuzz "+n+"\r\n", "SUB fuzz.> q 1\r\n", "UNSUB "+n+"\r\n", "UNSUB 1 "+n+"\r\n",
		"MSG fuzz 1 1\r\nx\r\n", "RMSG $G fuzz 1\r\nx\r\n", "LS+ fuzz\r\n", "RS+ $G fuzz\r\n", "A+ $G\r\n",
		strings.Repeat("x", d.length(8000))+"\r\n",
	)))
}

// routeSays is what a peer says that knows the password of routes, or not.
func (s *stage) routeSays(knows bool) func(dice, *talk) []byte {
	return func(d dice, _ *talk) []byte {
		pass := d.word()
		if knows {
			pass = s.keys.RoutePassword()
		}
		id := "FUZZ" + strconv.Itoa(d.IntN(1e6))
		connect := fmt.Sprintf(`{"echo":true,"verbose":false,"pedantic":false,"user":%q,"pass":%q,"tls_required":false,"headers":true,"name":%q,"cluster":"gatebus","dynamic":false,"lnoc":true,"gateway":""}`, keys.RouteUser, pass, id)
		info := fmt.Sprintf(`{"server_id":%q,"server_name":%q,"version":"2.15.0","proto":1,"go":"x","host":"127.0.0.1","port":1,"headers":true,"max_payload":%d,"cluster":"gatebus","lnoc":true,"route_pool_size":1}`, id, of(d, id, "r1", "r2"), d.IntN(1<<21))
		if d.once(3) {
			info = d.text(info)
		}
		b := []byte("INFO " + info + "\r\nCONNECT " + d.maybe(connect) + "\r\nPING\r\n")
		for range d.IntN(8) {
			b = append(b, of(d, natsLine(d), routeLine(d), routeLine(d))...)
		}
		if d.once(5) {
			b = of(d, d.bytes(2000), records(d), natsLine(d))
		}
		return b
	}
}

// routeLine is an operation between registers, or nearly.
func routeLine(d dice) []byte {
	const account = "gatebus"
	n := d.digits()
	return d.mutate([]byte(of(d,
		"RS+ "+account+" fuzz.x\r\n", "RS+ "+account+" fuzz.x q "+n+"\r\n", "RS- "+account+" fuzz.x\r\n", "RS+ $SYS fuzz.>\r\n", "RS+ nobody fuzz\r\n",
		"RMSG "+account+" fuzz.x 1\r\nx\r\n", "RMSG "+account+" fuzz.x + fuzz.r q 1\r\nx\r\n", "RMSG "+account+" fuzz.x | q "+n+"\r\nx\r\n",
		"HMSG "+account+" fuzz.x 12 13\r\nNATS/1.0\r\n\r\nx\r\n", "HMSG "+account+" fuzz.x "+n+" "+n+"\r\nx\r\n", "LMSG fuzz "+account+" x 1\r\nx\r\n",
		"RMSG "+account+" reg.announce.worker 2\r\n{}\r\n", "RMSG $SYS $SYS.SERVER.X.STATSZ 2\r\n{}\r\n", "A- "+account+"\r\n", "LS+ origin "+account+" x\r\n",
	)))
}
