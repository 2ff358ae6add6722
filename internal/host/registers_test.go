package host

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/internal/testbed"
)

// freeAddr is an address that stays free for this test: a register that restarts
// needs the same one again.
func freeAddr(t *testing.T) string {
	t.Helper()
	return testbed.MustFreeAddr(t, testbed.Host(1))
}

// registerOf is a register host i of n.
func registerOf(t *testing.T, i int, clients, routes []string) *configs.Config {
	t.Helper()
	cfg, err := configs.Load(configs.Source{
		Roles: []configs.Role{configs.RoleRegister},
		Set: []string{
			fmt.Sprintf("register.name=r%d", i+1), "register.listen=" + clients[i],
			"register.cluster.listen=" + routes[i], "register.cluster.routes=" + strings.Join(routes, ","),
			"admin.listen=127.0.0.1:0",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// knows waits until the register at the admin address has all the members.
func knows(t *testing.T, admin string, names ...string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		_, body := get(t, "http://"+admin+"/stats")
		var stats struct {
			Register struct{ Members []struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(body), &stats); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var got []string
		for _, m := range stats.Register.Members {
			got = append(got, m.Name)
		}
		if strings.Join(got, " ") == strings.Join(names, " ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("knows %q, want %q", got, names)
		}
	}
}

// One, two or three registers: any one suffices, each can stop and start again
// empty, and without any the data path goes on.
func TestRegisters(t *testing.T) {
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var clients, routes, urls []string
			for range n {
				clients, routes = append(clients, freeAddr(t)), append(routes, freeAddr(t))
				urls = append(urls, "nats://"+clients[len(clients)-1])
			}
			members := []string{"g1"}
			admins, stops := make([]string, n), make([]func(), n)
			start := func(i int) {
				at, _, stop := run(t, registerOf(t, i, clients, routes))
				admins[i], stops[i] = at.Admin, stop
			}
			for i := range n {
				members = append(members, fmt.Sprintf("r%d", i+1))
				start(i)
			}
			cfg := load(t, "worker.name=w1", "worker.handler.type=echo")
			cfg.Only(configs.RoleGateway, configs.RoleWorker)
			cfg.Registers = urls
			at, _, _ := run(t, cfg)
			members = append(members, "w1")
			ready(t, at)
			client := dial(t, "ws://"+at.Clients)
			echo := func(what string) {
				t.Helper()
				if err := client.WriteMessage(websocket.TextMessage, []byte(what)); err != nil {
					t.Fatal(err)
				}
				if _, data, err := client.ReadMessage(); err != nil || string(data) != what {
					t.Fatalf("%s: %q, %v", what, data, err)
				}
			}
			echo("before")
			for i := range n {
				knows(t, admins[i], members...)
			}
			for i := range n {
				stops[i]()
				echo(fmt.Sprintf("without r%d", i+1))
				start(i)
				knows(t, admins[i], members...)
			}
			for i := range n {
				stops[i]()
			}
			echo("without any")
			for i := range n {
				start(i)
			}
			for i := range n {
				knows(t, admins[i], members...)
			}
			ready(t, at)
			echo("after")
		})
	}
}
