package e2e_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/testbed"
)

// listener is where a gateway listens beside gateway.listen, as it says in its log.
func listener(t *testing.T, g *testbed.Process, name string) string {
	t.Helper()
	m, err := g.WaitLog(soon(t), `msg="listening for clients" .*\blistener=`+name+` .*\baddr=(\S+)`)
	must(t, err)
	return m[1]
}

// device is a client over a bare connection.
type device struct {
	net.Conn
	in *bufio.Reader
}

func dialDevice(t *testing.T, network, address string) device {
	t.Helper()
	c, err := net.DialTimeout(network, address, testbed.Patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(testbed.Patience)))
	return device{c, bufio.NewReader(c)}
}

// frame is pack('N', 4 + strlen($s)) . $s of GatewayWorker's clients.
func frame(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(s))), s...)
}

func (d device) readFrame(t *testing.T) string {
	t.Helper()
	head := make([]byte, 4)
	_, err := io.ReadFull(d.in, head)
	must(t, err)
	body := make([]byte, binary.BigEndian.Uint32(head)-4)
	_, err = io.ReadFull(d.in, body)
	must(t, err)
	return string(body)
}

func (d device) ends(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(d.in); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v; want an orderly end", rest, err)
	}
}

// Clients of GatewayWorker's frame and text protocols come as they are.
func TestDevices(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "raw.sock")
	cluster := testbed.NewCluster(t, 1)
	r := cluster.Register(0)
	g := cluster.Gateway("g1", `gateway.listeners=[{name: frames, listen: "127.0.0.1:0", protocol: frame}, `+
		`{name: lines, listen: "127.0.0.1:0", protocol: text}, {name: raw, listen: "unix:`+socket+`", protocol: raw}]`)
	w := cluster.Worker("w1")
	must(t, testbed.WaitReady(soon(t), r, g, w))

	f := dialDevice(t, "tcp", listener(t, g, "frames"))
	var all []byte
	for i := range 100 {
		all = append(all, frame(fmt.Sprint("frame ", i, "\x00\n"))...)
	}
	for len(all) > 0 { // in pieces that heed no frame
		n := min(7, len(all))
		_, err := f.Write(all[:n])
		must(t, err)
		all = all[n:]
	}
	for i := range 100 {
		if got := f.readFrame(t); got != fmt.Sprint("frame ", i, "\x00\n") {
			t.Fatalf("frame %d is %q", i, got)
		}
	}

	l := dialDevice(t, "tcp", listener(t, g, "lines"))
	_, err := io.WriteString(l, "one\r\ntwo\nthree")
	must(t, err)
	for _, want := range []string{"one\n", "two\n"} {
		if got, err := l.in.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	_, err = io.WriteString(l, "\n")
	must(t, err)
	must(t, l.Conn.(*net.TCPConn).CloseWrite())
	if got, err := io.ReadAll(l.in); err != nil || string(got) != "three\n" {
		t.Errorf("%q, %v", got, err)
	}

	u := dialDevice(t, "unix", socket)
	_, err = io.WriteString(u, "raw")
	must(t, err)
	got := make([]byte, 3)
	if _, err := io.ReadFull(u.in, got); err != nil || string(got) != "raw" {
		t.Errorf("%q, %v", got, err)
	}

	bad := dialDevice(t, "tcp", listener(t, g, "frames"))
	_, err = bad.Write(append(frame("good"), 0, 0, 0, 3))
	must(t, err)
	if got := bad.readFrame(t); got != "good" {
		t.Errorf("%q", got)
	}
	bad.ends(t)

	_, err = f.Write(frame("last"))
	must(t, err)
	if got := f.readFrame(t); got != "last" {
		t.Errorf("%q", got)
	}
	must(t, g.Signal(syscall.SIGTERM))
	f.ends(t)
	u.ends(t)
	for _, d := range []device{f, u} {
		must(t, d.Close())
	}
	exits(t, g, 0)
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// groupWorker is a plain worker of a group, that answers with its group's name; seen
// gets the open events.
func groupWorker(t *testing.T, g *testbed.Process, group string, seen chan<- map[string]any) {
	t.Helper()
	nc := connect(t, "nats://"+addr(t, g, "bus"))
	_, err := nc.QueueSubscribe("gw.*.in."+group+".*", group, func(m *nats.Msg) {
		switch {
		case strings.HasSuffix(m.Subject, ".open"):
			info := map[string]any{}
			if err := json.Unmarshal(m.Data, &info); err != nil {
				t.Error(err)
			}
			seen <- info
			m.Respond(nil)
		case strings.HasSuffix(m.Subject, ".close"):
			m.Respond(nil)
		default:
			m.Respond([]byte(group + " " + string(m.Data)))
		}
	})
	must(t, err)
	must(t, nc.FlushTimeout(testbed.Patience))
}

// Each path leads to its worker group, whether its workers are SDK or plain ones; one
// whose group has no worker is refused, and the others do not notice.
func TestPathsToGroups(t *testing.T) {
	t.Parallel()
	cluster := testbed.NewCluster(t, 1, "gateway.hold=300ms", "gateway.paths=/game=game,/game/lobby=lobby,/nobody=nobody")
	r := cluster.Register(0)
	g := cluster.Gateway("g1", `gateway.listeners=[{name: frames, listen: "127.0.0.1:0", protocol: frame, group: game}]`)
	w1, w2 := cluster.Worker("w1"), cluster.Worker("w2", "worker.group=lobby")
	must(t, testbed.WaitReady(soon(t), r, g, w1, w2))
	must(t, awaitLinks(t, w1, 1))
	must(t, awaitLinks(t, w2, 1))
	seen := make(chan map[string]any, 10)
	groupWorker(t, g, "game", seen)

	url := strings.TrimSuffix(ws(t, g), "/")
	echoes(t, dial(t, url+"/gamer"), "a")
	echoes(t, dial(t, url+"/game/lobby/1"), "b")
	c := dial(t, url+"/game/7?x=1")
	write(t, c, "c")
	reads(t, c, "game c")
	info := <-seen
	if info["path"] != "/game/7" || info["listener"] != "default" || info["protocol"] != "websocket" {
		t.Errorf("the open event says %v", info)
	}
	f := dialDevice(t, "tcp", listener(t, g, "frames"))
	_, err := f.Write(frame("d"))
	must(t, err)
	if got := f.readFrame(t); got != "game d" {
		t.Errorf("%q", got)
	}
	info = <-seen
	if info["listener"] != "frames" || info["protocol"] != "frame" || info["remote"] != f.LocalAddr().String() {
		t.Errorf("the open event says %v", info)
	}

	_, resp, err := websocket.DefaultDialer.DialContext(soon(t), url+"/nobody", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a path to a group without workers: %v, %v", resp, err)
	}
	echoes(t, dial(t, url+"/"), "e")

	// A worker that leaves and one that comes change nothing for other groups.
	must(t, w2.Signal(syscall.SIGTERM))
	exits(t, w2, 0)
	_, resp, err = websocket.DefaultDialer.DialContext(soon(t), url+"/game/lobby", nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a path whose worker has left: %v, %v", resp, err)
	}
	write(t, c, "f")
	reads(t, c, "game f")
	echoes(t, dial(t, url+"/"), "g")
}
