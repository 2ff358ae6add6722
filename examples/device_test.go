package examples

import (
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/gatebus/gatebus/internal/testbed"
)

// TestDevice runs the device and its stations as the README says: on a listener for
// the frame protocol, in a worker group of its own.
func TestDevice(t *testing.T) {
	c := testbed.NewCluster(t, 1)
	r := c.Register(0)
	at := testbed.MustFreeAddr(t, testbed.Host(9))
	g := c.Gateway("g1", `gateway.listeners=[{name: devices, listen: "`+at+`", protocol: frame, group: devices}]`)
	s1 := start(t, "device/station", "-registers", c.URLs(), "-group", "devices")
	s2 := start(t, "device/station", "-registers", c.URLs(), "-group", "devices")
	d := start(t, "device", "-gateway", at, "-name", "fan-7", "-every", "50ms")

	// It gets warm, and a station has the fan switched on; and off again.
	says(t, d, `msg="the fan is switched" device=fan-7 on=true`)
	says(t, d, `msg="the fan is switched" device=fan-7 on=false`)

	// A station is killed, the gateway stopped and started again: the device goes on.
	s1.Kill()
	ends(t, g, syscall.SIGTERM)
	says(t, d, `msg="no connection to the gateway; trying again"`)
	g = g.Again()
	d2 := start(t, "device", "-gateway", at, "-name", "fan-8", "-every", "50ms")
	says(t, d2, `msg="the fan is switched" device=fan-8 on=true`)
	says(t, s2, `msg=reading device=fan-7 n=([4-9]\d|\d{3,}) `) // it has had a dozen before

	// What is no device is sent away, and only that.
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testbed.Patience)); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"device":"","temperature":"hot"}`)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
		t.Errorf("what is no device gets %q, %v", rest, err)
	}
	says(t, d2, `msg="the fan is switched" device=fan-8 on=false`)
	for _, p := range []*testbed.Process{d, d2, s2, g, r} {
		ends(t, p, syscall.SIGTERM)
	}
}

// start starts an example.
func start(t *testing.T, dir string, args ...string) *testbed.Process {
	t.Helper()
	program, err := testbed.Program("examples/" + dir)
	if err != nil {
		t.Fatal(err)
	}
	return testbed.Start(t, testbed.Spec{Name: "examples/" + dir, Path: program, Args: args})
}

// says waits for a line of the process's log.
func says(t *testing.T, p *testbed.Process, line string) {
	t.Helper()
	ctx, cancel := testbed.Soon()
	defer cancel()
	if _, err := p.WaitLog(ctx, line); err != nil {
		t.Fatal(err)
	}
}
