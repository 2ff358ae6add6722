package configs

import (
	"errors"
	"strings"
	"testing"
)

// TestErrors holds every message as a user reads it.
func TestErrors(t *testing.T) {
	const (
		asText   = "tags (!name) are not read; put text that begins with ! in quotes"
		noSecret = " can be reached from other machines, and there is no secret; set secret or secret_file, or set insecure: true if the network is trusted"
		wildcard = " is every interface, and not an address that others can connect to; set advertise to the address of this host, or listen on that address"
		noAuth   = " can be reached from other machines, and the admin listener has no authentication; listen on 127.0.0.1 and use a tunnel, set api.tokens so that it wants one, or set insecure: true if the network is trusted"
		route    = "; write the host:port of a register's cluster.listen, such as 127.0.0.1:6222"
		url      = "; write nats://host:port, such as nats://127.0.0.1:4222"
	)
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		// Keys.
		{"misspelt", "log:\n\ngateway:\n  ack_wiat: 2s\n", []string{
			"host.yaml:4: gateway.ack_wiat: unknown key; did you mean ack_wait?"}},
		{"wrong section", "hold: 3s\n", []string{
			"host.yaml:1: hold: unknown key; did you mean gateway.hold?"}},
		{"unlike any", "zzz: 1\n1: 2\n<<: {a: b}\n\"\\e[\": 3\n", []string{
			`host.yaml:1: zzz: unknown key; "gatebus config print" shows all there are`,
			`host.yaml:2: 1: unknown key; "gatebus config print" shows all there are`,
			`host.yaml:3: <<: unknown key; "gatebus config print" shows all there are`,
			`host.yaml:4: "\x1b[": unknown key; "gatebus config print" shows all there are`}},
		{"twice", "gateway:\n  hold: 1s\n  hold: 2s\n", []string{
			"host.yaml:3: gateway.hold: set twice, first in line 2; remove one of the two"}},
		{"section twice", "gateway:\nlog:\ngateway:\n", []string{
			"host.yaml:3: gateway: set twice, first in line 1; remove one of the two"}},
		{"no key", "? [a]\n: b\n", []string{
			"host.yaml:1: a list cannot be a key"}},

		// YAML.
		{"nested", "a: b: c\n", []string{
			"host.yaml:1: not YAML: mapping values are not allowed in this context"}},
		{"tab", "gateway:\n\tname: x\n", []string{
			"host.yaml:2: not YAML: found character that cannot start any token"}},
		{"no colon", "log:\n\n\nfoo bar\n", []string{
			"host.yaml:4: not YAML: could not find expected ':'"}},
		{"open bracket", "registers: [a, b\n", []string{
			"host.yaml:1: not YAML: did not find expected ',' or ']'"}},
		{"list", "- a\n", []string{
			"host.yaml:1: want lines of the form key: value, not a list"}},
		{"word", "foo\n", []string{
			"host.yaml:1: want lines of the form key: value, not a single value"}},
		{"two documents", "---\nlog:\n---\nlog:\n", []string{
			"host.yaml:3: a second document; one file describes one host, so remove the line --- and merge what follows"}},
		{"control", "log:\n\nx: \x01", []string{
			"host.yaml:3: byte 0x01 cannot be in a YAML file; save it as UTF-8 text"}},
		{"latin-1", "x: \xe4", []string{
			"host.yaml:1: byte 0xE4 cannot be in a YAML file; save it as UTF-8 text"}},
		{"alias to nothing", "log:\nsecret: *hunter2\n", []string{
			"host.yaml:2: not YAML: an alias (*name) to nothing; put text that begins with * in quotes"}},
		{"alias", "register: {name: &x r2, listen: *x}\nlog: *x\n", []string{
			"host.yaml:1: register.listen: aliases (*name) are not read; write the value, in quotes if it begins with *",
			"host.yaml:2: log: it is a section; set a key below it, such as log.level"}},
		{"tag", "secret: !hunter2 x\nadvertise: !!binary aGk=\n", []string{
			"host.yaml:1: secret: " + asText, "host.yaml:2: advertise: " + asText}},

		// Types.
		{"no unit", "gateway:\n  hold: 10\n  drain: \"10\"\n  ack_wait: 1.5\n", []string{
			`host.yaml:2: gateway.hold: "10" has no unit; write 10s or 10ms`,
			`host.yaml:3: gateway.drain: "10" has no unit; write 10s or 10ms`,
			`host.yaml:4: gateway.ack_wait: "1.5" has no unit; write 1.5s or 1.5ms`}},
		{"duration", "gateway: {ack_wait: 2 seconds}\n", []string{
			`host.yaml:1: gateway.ack_wait: "2 seconds" is not a duration; write one such as 2s`}},
		{"no value", "secret:\ngateway: {hold: ~}\nregisters:\n", []string{
			"host.yaml:1: secret: it has no value; write one, or remove the line for the default",
			"host.yaml:2: gateway.hold: it has no value; write one, or remove the line for the default",
			"host.yaml:3: registers: it has no value; write one, or remove the line for the default"}},
		{"section", "admin: off\ngateway: [a]\n", []string{
			"host.yaml:1: admin: it is a section; set a key below it, such as admin.listen",
			"host.yaml:2: gateway: it is a section; set a key below it, such as gateway.name"}},
		{"text", "secret: [x]\nadvertise: {a: b}\n", []string{
			"host.yaml:1: secret: want text, not a list",
			"host.yaml:2: advertise: want text, not a map"}},
		{"list wanted", "registers: h:1\n", []string{
			"host.yaml:1: registers: want a list such as [a, b], not a single value"}},
		{"in a list", "registers:\n  - [a]\n  - {b: c}\n  - h:1\n  -\n", []string{
			"host.yaml:2: registers[0]: want text, not a list",
			"host.yaml:3: registers[1]: want text, not a map",
			`host.yaml:5: registers[3]: it has no value; write "" for an empty one`}},
		{"truth", "insecure: yes\n", []string{`host.yaml:1: insecure: "yes" is not true or false`}},
		{"truth, number", "insecure: 1\n", []string{`host.yaml:1: insecure: "1" is not true or false`}},
		{"truth, text", "insecure: 'true'\n", []string{`host.yaml:1: insecure: "true" is text; write it without quotes`}},
		{"whole", "gateway:\n  max_deliver: many\n  send_frames: '5'\n  queue_frames: 99999999999999999999\n  send_bytes: 0x10\n  queue_bytes: 1.5\n", []string{
			`host.yaml:2: gateway.max_deliver: "many" is not a whole number; write one such as 5`,
			`host.yaml:3: gateway.send_frames: "5" is text; write it without quotes`,
			`host.yaml:4: gateway.queue_frames: "99999999999999999999" is out of range; write a number such as 64`,
			`host.yaml:5: gateway.send_bytes: "0x10" is not a whole number; write one such as 1048576`,
			`host.yaml:6: gateway.queue_bytes: "1.5" is not a whole number; write one such as 262144`}},

		// What the roles say.
		{"gateway", "gateway:\n  name: all\n  group: a b\n  listen: 8282\n  ack_wait: 1ms\n  max_deliver: 0\n", []string{
			`host.yaml:2: gateway.name: bad name "all": it stands for every gateway`,
			`host.yaml:3: gateway.group: bad name "a b": only A-Z a-z 0-9 _ and - are allowed`,
			"host.yaml:4: gateway.listen: address 8282: missing port in address; write host:port, such as 127.0.0.1:8282",
			"host.yaml:5: gateway.ack_wait: 1ms is too short; from 100ms",
			"host.yaml:6: gateway.max_deliver: 0 is too small; from 1"}},
		{"handover", "gateway:\n  bus: {spare: 127.0.0.1:8301}\n", []string{
			"host.yaml:2: gateway.bus.spare: gateway.handover is empty, so no process takes it; set that, or remove it"}},
		{"handover on a shared bus", "gateway:\n  handover: /run/gw.sock\n  bus: {url: [nats://h:4222]}\n", []string{
			"host.yaml:2: gateway.handover: the bus is gateway.bus.url, where two processes of one name are not told apart; " +
				"remove one of the two, and replace the gateway by one with another name"}},
		{"spare", "gateway:\n  handover: /" + strings.Repeat("x", 107) + "\n  bus: {spare: \"8301\"}\n", []string{
			"host.yaml:2: gateway.handover: the path has 108 bytes; that of a socket has 107 at most",
			`host.yaml:3: gateway.bus.spare: "8301" is not host:port; write host:port, such as 127.0.0.1:8283`}},
		{"listeners", `gateway:
  listen: 127.0.0.1:1
  listeners:
    - {protocol: tcp}
    - listen: "9000"
      name: a b
    - listen: unix:rel
      group: "*"
      nme: x
    - {listen: h:1, idle_timeout: 90s}
    - {listen: h:2, protocol: raw, idle_timeout: 3}
    - {listen: h:3, protocol: raw, idle_timeout: 3ms}
    - {listen: h:4, protocol: text, ping_data: "a\nb"}
    - {listen: h:5, name: default}
    - {listen: h:6, name: x, protocol: text}
    - {listen: h:7, name: x, protocol: text}
    - listen: h:port
`, []string{
			`host.yaml:4: gateway.listeners[0].listen: it is missing; write host:port, or unix:/path`,
			`host.yaml:4: gateway.listeners[0].protocol: "tcp": it is websocket, text, frame or raw`,
			`host.yaml:5: gateway.listeners[1].listen: address 9000: missing port in address; write host:port, such as 127.0.0.1:8283, or unix:/path`,
			`host.yaml:6: gateway.listeners[1].name: bad name "a b": only A-Z a-z 0-9 _ and - are allowed`,
			`host.yaml:7: gateway.listeners[2].listen: unix:rel is not absolute; write unix:/path`,
			`host.yaml:8: gateway.listeners[2].group: bad name "*": only A-Z a-z 0-9 _ and - are allowed`,
			`host.yaml:9: gateway.listeners[2].nme: unknown key; did you mean name?`,
			`host.yaml:10: gateway.listeners[3].idle_timeout: WebSocket clients are pinged; remove it, ping_interval and pong_timeout say when a silent one is closed`,
			`host.yaml:11: gateway.listeners[4].idle_timeout: "3" has no unit; write 3s or 3ms`,
			`host.yaml:12: gateway.listeners[5].idle_timeout: 3ms is too short; from 1s, or 0s for none`,
			`host.yaml:13: gateway.listeners[6].ping_data: it has a line break in it, which would make two messages of it`,
			`host.yaml:14: gateway.listeners[7].name: "default" is the name of listen; choose another`,
			`host.yaml:16: gateway.listeners[9].name: "x" is the name of listeners[8]; choose another`,
			`host.yaml:17: gateway.listeners[10].listen: "h:port": "port" is not a port from 0 to 65535; write host:port, such as 127.0.0.1:8283`}},
		{"no listeners", "gateway:\n  listeners:\n    -\n    - x\n    - {nme: x}\n", []string{
			"host.yaml:3: gateway.listeners[0]: it has no value; write its keys, or remove the line",
			"host.yaml:4: gateway.listeners[1]: it is a section; set a key below it, such as gateway.listeners[1].name",
			"host.yaml:5: gateway.listeners[2].nme: unknown key; did you mean name?"}},
		{"listeners collide", "gateway:\n  listeners:\n    - listen: 127.0.0.1:8282\n    - listen: unix:/a\n    - listen: unix:/a\n      protocol: raw\n", []string{
			"host.yaml:3: gateway.listeners[0].listen: 127.0.0.1:8282 is taken by gateway.listen, which listens on 127.0.0.1:8282; choose another port",
			"host.yaml:5: gateway.listeners[2].listen: unix:/a is taken by gateway.listeners[1].listen, which listens on unix:/a; choose another port"}},
		{"paths", "gateway:\n  paths:\n    /a.b: no group\n    /chat/: chat\n    game: game\n", []string{
			`host.yaml:3: gateway.paths./a.b: the worker group: bad name "no group": only A-Z a-z 0-9 _ and - are allowed`,
			"host.yaml:4: gateway.paths./chat/: write /chat: what is below it is meant too",
			"host.yaml:5: gateway.paths.game: a path begins with /, such as /chat"}},
		{"worker", "worker:\n  name: a.b\n  concurrency: -1\n  drain: 30ms\n", []string{
			`host.yaml:2: worker.name: bad name "a.b": only A-Z a-z 0-9 _ and - are allowed`,
			"host.yaml:3: worker.concurrency: -1 is negative; 0 means the default",
			"host.yaml:4: worker.drain: 30ms is too short; from 100ms, or 0 for the default"}},
		{"register", "register: {name: '', cluster: {name: a/b}}\n", []string{
			"host.yaml:1: register.name: bad name: it is empty",
			`host.yaml:1: register.cluster.name: bad name "a/b": only A-Z a-z 0-9 _ and - are allowed`}},
		{"handler", "worker: {handler: {type: php}}\n", []string{
			`host.yaml:1: worker.handler.type: "php" is not a built-in handler; write echo, chat or webhook`}},
		{"webhook", "worker: {handler: {type: webhook}}\n", []string{
			"host.yaml: worker.handler.url: it is empty; write where events are posted, such as http://127.0.0.1:8000/gatebus"}},
		{"webhook's keys", "worker:\n  handler:\n    type: webhook\n    url: http://u:hunter2@h/\n    timeout: 1ms\n    retries: -1\n    max_elapsed: 0s\n    max_response: 0\n" +
			"    signing_keys:\n    - whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n    - hunter2\n    - '********'\n    headers:\n      Ce-Id: hunter2\n      a b: hunter2\n      x: '********'\n", []string{
			"host.yaml:4: worker.handler.url: it has a user or password; remove them, and send them as headers: {authorization: Basic …}",
			"host.yaml:5: worker.handler.timeout: 1ms is too short; from 100ms",
			"host.yaml:6: worker.handler.retries: -1 is not from 0 to 1000",
			"host.yaml:7: worker.handler.max_elapsed: 0s is too short; from 100ms",
			"host.yaml:8: worker.handler.max_response: 0 is not from 1 to 67108864",
			`host.yaml:11: worker.handler.signing_keys[1]: a key begins with whsec_; make one with: echo "whsec_$(openssl rand -base64 32)"`,
			"host.yaml:12: worker.handler.signing_keys[2]: it is the mask of a printed configuration; put the key itself in",
			"host.yaml:13: worker.handler.headers: Ce-Id is set by gatebus itself; remove it",
			`host.yaml:13: worker.handler.headers: "a b" cannot be the name of a header`,
			"host.yaml:13: worker.handler.headers: x is the mask of a printed configuration; put the value itself in"}},
		{"no webhook", "worker: {handler: {url: 'http://h/?token=hunter2'}}\n", []string{
			"host.yaml:1: worker.handler.url: it is for type: webhook, and the type is echo; set type: webhook, or remove the url"}},
		{"log", "log: {level: loud, format: xml}\n", []string{
			`host.yaml:1: log.level: "loud" is not a level; write debug, info, warn or error`,
			`host.yaml:1: log.format: "xml" is not a format; write text or json`}},

		// Addresses.
		{"listeners", "admin: {listen: 8280}\ngateway: {listen: 'h:http', bus: {listen: 'a b:1'}}\nregister: {listen: h:70000}\n", []string{
			`host.yaml:1: admin.listen: "8280" is not host:port; write host:port, such as 127.0.0.1:8280`,
			`host.yaml:2: gateway.listen: "h:http": "http" is not a port from 0 to 65535; write host:port, such as 127.0.0.1:8282`,
			`host.yaml:2: gateway.bus.listen: "a b:1": "a b" is not a host name or address; write host:port, such as 127.0.0.1:8300`,
			`host.yaml:3: register.listen: "h:70000": "70000" is not a port from 0 to 65535; write host:port, such as 127.0.0.1:4222`}},
		{"routes", "register:\n  cluster:\n    routes:\n    - h\n    - :1\n    - h:0\n    - nats://h:1\n", []string{
			`host.yaml:4: register.cluster.routes[0]: "h" is not host:port` + route,
			`host.yaml:5: register.cluster.routes[1]: ":1" is not an address to connect to` + route,
			`host.yaml:6: register.cluster.routes[2]: "h:0" is not an address to connect to` + route,
			`host.yaml:7: register.cluster.routes[3]: "nats://h:1" is not host:port` + route}},
		{"registers", "gateway:\nregisters:\n- http://h:1\n- tls://h:1\n- nats://u:hunter2@h:1\n- h\n- h:0\n- 0.0.0.0:1\n- ''\n", []string{
			`host.yaml:3: registers[0]: "http://h:1" is not the URL of a register; write nats://host:port`,
			`host.yaml:4: registers[1]: tls://h:1 is for TLS, and no certificates are set; set tls.ca, or write nats://`,
			"host.yaml:5: registers[2]: the URL has a user or password; remove them, what logs in is the secret; for a NATS cluster of your own, nats.user and nats.password",
			`host.yaml:6: registers[3]: "h" is not host:port` + url,
			`host.yaml:7: registers[4]: "h:0" is not an address to connect to` + url,
			`host.yaml:8: registers[5]: "0.0.0.0:1" is not an address to connect to` + url,
			`host.yaml:9: registers[6]: "" is not host:port` + url}},
		{"your NATS", "secret: 0123456789abcdef\nnats: {user: u, password: hunter2, nkey: none}\ngateway:\n  bus:\n    listen: 127.0.0.1:1\n    url:\n    - nats://u:hunter2@h:1\n    - tls://h:1\n    - h:0\nregister: {url: [h:1]}\n", []string{
			"host.yaml:2: nats.nkey: none cannot be read: no such file or directory",
			"host.yaml:6: gateway.bus.url: gateway.bus.listen is set as well; remove one of the two",
			"host.yaml:7: gateway.bus.url[0]: the URL has a user or password; put them into nats.user and nats.password",
			"host.yaml:8: gateway.bus.url[1]: tls://h:1 is for TLS, and no certificates are set; set tls.ca, or write nats://",
			`host.yaml:9: gateway.bus.url[2]: "h:0" is not an address to connect to` + url,
			"host.yaml:10: register.url: the secret is for registers with NATS servers of their own, and this one would be reached with it; remove secret and secret_file, and set nats.user, nats.creds or nats.nkey"}},
		{"no registers", "worker:\nregisters: []\n", []string{
			"host.yaml:2: registers: it is empty, and a gateway, worker or api needs one to be found; write at least one, such as [nats://127.0.0.1:4222]"}},
		{"advertise with port", "advertise: 10.0.0.1:80\n", []string{
			`host.yaml:1: advertise: "10.0.0.1:80" has a port; write the host alone, each listener adds its own port`}},
		{"advertise in brackets", "advertise: '[::1]'\n", []string{
			`host.yaml:1: advertise: "[::1]" is not a host name or address; write one such as 10.0.0.5, or 2001:db8::5 without brackets`}},
		{"advertise everything", "advertise: 0.0.0.0\n", []string{
			`host.yaml:1: advertise: "0.0.0.0" is every interface; write the one address that others connect to`}},
		{"collisions", "gateway: {listen: 0.0.0.0:8300}\nadmin: {listen: 127.0.0.1:4222}\nregister:\n", []string{
			"host.yaml: register.listen: 127.0.0.1:4222 is taken by admin.listen, which listens on 127.0.0.1:4222; choose another port",
			"host.yaml: gateway.bus.listen: 127.0.0.1:8300 is taken by gateway.listen, which listens on 0.0.0.0:8300; choose another port"}},

		// What others can reach.
		{"no secret", "gateway:\n  bus:\n    listen: 10.0.0.5:8300\nregister:\n  listen: h1:4222\n  cluster:\n    listen: '[2001:db8::5]:6222'\n", []string{
			"host.yaml:3: gateway.bus.listen: 10.0.0.5:8300" + noSecret,
			"host.yaml:5: register.listen: h1:4222" + noSecret,
			"host.yaml:7: register.cluster.listen: [2001:db8::5]:6222" + noSecret}},
		{"every interface", "secret: " + goodSecret + "\ngateway:\n  bus: {listen: ':8300'}\nregister:\n  listen: '[::]:4222'\n  cluster: {listen: 0.0.0.0:6222}\n", []string{
			"host.yaml:3: gateway.bus.listen: :8300" + wildcard,
			"host.yaml:5: register.listen: [::]:4222" + wildcard,
			"host.yaml:6: register.cluster.listen: 0.0.0.0:6222" + wildcard}},
		{"bus for this machine only", "secret: " + goodSecret + "\nregisters: [127.0.0.1:4222, 10.0.0.1:4222]\ngateway:\n", []string{
			"host.yaml: gateway.bus.listen: 127.0.0.1:8300 can be reached from this machine only, but the register nats://10.0.0.1:4222 is not on it: " +
				"workers elsewhere would be told 127.0.0.1:8300; set advertise to the address of this host, or listen on that address"}},
		{"bus advertised", "registers: [10.0.0.1:4222]\nadvertise: 10.0.0.2\ngateway:\n", nil},
		{"all on this machine", "registers: [127.0.0.2:4222, 'localhost:4223', '[::1]:4224']\ngateway:\n", nil},
		{"neither", "gateway:\n  bus: {listen: ':8300'}\n", []string{
			"host.yaml:2: gateway.bus.listen: :8300" + noSecret,
			"host.yaml:2: gateway.bus.listen: :8300" + wildcard}},
		{"admin", "secret: " + goodSecret + "\nadmin:\n  listen: 10.0.0.5:8280\n", []string{
			"host.yaml:3: admin.listen: 10.0.0.5:8280" + noAuth}},
		{"not after another error", "secert: x\ngateway: {bus: {listen: 10.0.0.5:8300}}\n", []string{
			"host.yaml:1: secert: unknown key; did you mean secret?"}},
		{"insecure", "insecure: true\nadvertise: h1\ngateway: {bus: {listen: ':8300'}}\nadmin: {listen: 10.0.0.5:8280}\n", nil},
		{"secret", "secret: " + goodSecret + "\ngateway: {listen: ':8282', bus: {listen: 10.0.0.5:8300}}\n", nil},
		{"clients from anywhere", "gateway: {listen: 0.0.0.0:8282}\n", nil},
		{"loopback", "gateway: {bus: {listen: 127.9.9.9:8300}}\nregister: {listen: 'localhost:4222', cluster: {listen: '[::1]:6222'}}\n", nil},

		// Secrets.
		{"short", "secret: hunter2\n", []string{
			"host.yaml:1: secret: a secret of less than 16 bytes can be guessed; make one with: openssl rand -hex 32"}},
		{"mask", "secret: '********'\n", []string{
			`host.yaml:1: secret: "********" is the mask of a printed configuration; put the secret itself in, or use secret_file`}},
		{"accepted", "secret: " + goodSecret + "\naccept_secret: hunter2\n", []string{
			"host.yaml:2: accept_secret: a secret of less than 16 bytes can be guessed; make one with: openssl rand -hex 32"}},
		{"accepted mask", "secret: " + goodSecret + "\naccept_secret: '********'\n", []string{
			`host.yaml:2: accept_secret: "********" is the mask of a printed configuration; put the secret itself in, or use accept_secret_file`}},
		{"accepted alone", "accept_secret: " + goodSecret + "\n", []string{
			"host.yaml:1: accept_secret: there is no secret beside which it could be accepted; set secret or secret_file, or remove it"}},
		{"both accepted", "secret: " + goodSecret + "\naccept_secret: hunter2\naccept_secret_file: b\n", []string{
			"host.yaml:3: accept_secret_file: accept_secret is set as well; remove one of the two"}},
		{"no accepted file", "secret: " + goodSecret + "\naccept_secret_file: /nonexistent/secret\n", []string{
			"host.yaml:2: accept_secret_file: /nonexistent/secret cannot be read: no such file or directory"}},
		{"both", "secret: hunter2\nsecret_file: b\n", []string{
			"host.yaml:2: secret_file: secret is set as well; remove one of the two"}},
		{"no file", "secret_file: /nonexistent/secret\n", []string{
			"host.yaml:1: secret_file: /nonexistent/secret cannot be read: no such file or directory"}},
		{"empty file", "secret_file: empty\n", []string{
			"host.yaml:1: secret_file: empty is empty; write the secret into it, or remove the key"}},
		{"short in a file", "secret_file: short\n", []string{
			"host.yaml:1: secret_file: a secret of less than 16 bytes can be guessed; make one with: openssl rand -hex 32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(host(tt.file), func(path string, limit int64) ([]byte, error) {
				switch path {
				case "empty":
					return []byte(" \n"), nil
				case "short":
					return []byte("hunter2\n"), nil
				}
				return readFile(path, limit)
			})
			if tt.want == nil {
				if err != nil {
					t.Errorf("error:\n%v", err)
				}
				return
			}
			wantError(t, err, tt.want...)
		})
	}
}

// TestErrorsOfLayers are those about variables and flags, and the order of all.
func TestErrorsOfLayers(t *testing.T) {
	const form = "unknown variable; unset it, or write a key in capitals with __ between its parts, such as GATEBUS_GATEWAY__LISTEN"
	for _, tt := range []struct {
		name string
		src  Source
		want []string
	}{
		{"variables", Source{Environ: []string{
			"GATEBUS_GATEWAY_LISTEN=x", "GATEBUS_FOO=1", "GATEBUS_GATEWAY__HOLD=10", "GATEBUS_GATEWAY=1",
			"GATEBUS_REGISTERS=a,,b", "GATEBUS_WORKER__CONCURRENCY=", "GATEBUS_ADVERTISE=\xff", "GATEBUS_INSECURE=yes",
			"GATEBUS_SECRET=hunter2", "GATEBUS_WORKER__NAME=a.b", "GATEBUS_LOG__LEVEL=loud",
		}}, []string{
			"GATEBUS_GATEWAY_LISTEN: unknown variable; did you mean GATEBUS_GATEWAY__LISTEN?",
			"GATEBUS_FOO: " + form,
			`GATEBUS_GATEWAY__HOLD: gateway.hold: "10" has no unit; write 10s or 10ms`,
			"GATEBUS_GATEWAY: gateway: it is a section; set a key below it, such as gateway.name",
			`GATEBUS_REGISTERS: registers: "a,,b" has an empty element; write a,b,c`,
			`GATEBUS_WORKER__CONCURRENCY: worker.concurrency: "" is not a whole number; write one such as 256`,
			"GATEBUS_ADVERTISE: advertise: the value is not UTF-8 text",
			`GATEBUS_INSECURE: insecure: "yes" is not true or false`,
			"GATEBUS_SECRET: secret: a secret of less than 16 bytes can be guessed; make one with: openssl rand -hex 32",
			`GATEBUS_LOG__LEVEL: log.level: "loud" is not a level; write debug, info, warn or error`,
			`GATEBUS_WORKER__NAME: worker.name: bad name "a.b": only A-Z a-z 0-9 _ and - are allowed`,
		}},
		{"variables of others", Source{Environ: []string{
			"GATEBUS_TEST_NATS=1", "GATEBUSX=1", "gatebus_foo=1", "GATEBUS_SERVICE_HOST=10.0.0.7", "GATEBUS_SERVICE_PORT=8282",
			"GATEBUS_SERVICE_PORT_WS=8282", "GATEBUS_PORT=tcp://10.0.0.7:8282", "GATEBUS_PORT_8282_TCP=tcp://10.0.0.7:8282",
			"GATEBUS_PORT_8282_TCP_PORT=8282", "GATEBUS_GATEWAY_SERVICE_HOST=10.0.0.8", "GATEBUS_GATEWAY_PORT=tcp://10.0.0.8:8282",
		}}, nil},
		{"nearly variables of others", Source{Environ: []string{"GATEBUS_PORT=8282"}}, []string{"GATEBUS_PORT: " + form}},
		{"flags", Source{Set: []string{
			"", "=x", "gateway.listen", "gateway.lisetn=3", "gatway.listen=3", "gateway=3", "gateway.listen.x=3", "gateway.hold=5",
		}}, []string{
			"--set =: it names no key; write --set key=value",
			"--set =: it names no key; write --set key=value",
			"--set gateway.listen: it has no value; write --set gateway.listen=value",
			"--set gateway.lisetn: unknown key; did you mean listen?",
			"--set gatway.listen: unknown key; did you mean gateway?",
			"--set gateway: it is a section; set a key below it, such as gateway.name",
			`--set gateway.listen.x: unknown key; "gatebus config print" shows all there are`,
			`--set gateway.hold: "5" has no unit; write 5s or 5ms`,
		}},
		{"order", Source{
			Name: "host.yaml", Data: []byte("worker: {name: a.b}\nlog: {level: loud}\nadmin: {lisen: x}\nadvertise: ':'\n"),
			Environ: []string{"GATEBUS_ADVERTISE=a:1"}, Set: []string{"registers=h"},
		}, []string{
			`host.yaml:1: worker.name: bad name "a.b": only A-Z a-z 0-9 _ and - are allowed`,
			`host.yaml:2: log.level: "loud" is not a level; write debug, info, warn or error`,
			"host.yaml:3: admin.lisen: unknown key; did you mean listen?",
			`GATEBUS_ADVERTISE: advertise: "a:1" has a port; write the host alone, each listener adds its own port`,
			`--set registers: registers[0]: "h" is not host:port; write nats://host:port, such as nats://127.0.0.1:4222`,
		}},
		{"secrets of one layer", Source{Environ: []string{"GATEBUS_SECRET=" + goodSecret, "GATEBUS_SECRET_FILE=b"}}, []string{
			"GATEBUS_SECRET_FILE: secret_file: secret is set as well; remove one of the two"}},
		{"no such role", Source{Roles: []Role{"broker"}}, []string{`"broker" is not a role; there are register, gateway, worker and api`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.src)
			if tt.want == nil {
				if err != nil {
					t.Errorf("error:\n%v", err)
				}
				return
			}
			wantError(t, err, tt.want...)
		})
	}
}

func TestSplit(t *testing.T) {
	a, b, c := errors.New("a: 1: x"), errors.New("b: 2"), errors.New("no key in here")
	var got []string
	for _, err := range split(errors.Join(a, errors.Join(b, c))) {
		key, rest := keyed(err)
		got = append(got, key+"|"+rest.Error())
		if !errors.Is(rest, err) {
			t.Errorf("%v does not wrap %v", rest, err)
		}
	}
	if len(got) != 3 || got[0] != "a|1: x" || got[1] != "b|2" || got[2] != "|no key in here" {
		t.Errorf("got %q", got)
	}
	if split(nil) != nil {
		t.Error("nil is split into something")
	}
}
