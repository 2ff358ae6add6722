package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// The examples stand in docs/api.md too, as they are here: a test compares them.

// pond is the handler of a chat.
type pond struct {
	login func(cookies []string) (user string, err error)
}

func (p *pond) Handle(ctx context.Context, ev *worker.Event) error {
	switch ev.Kind {
	case worker.Open: // before the client's handshake is answered
		info, err := ev.OpenInfo()
		if err != nil {
			return err
		}
		user, err := p.login(info.Headers["Cookie"])
		if err != nil {
			ev.Reject(401, "log in first")
			return nil
		}
		return ev.Accept(worker.Admission{UID: user, Groups: []string{"lobby"}})
	case worker.Text:
		return ev.Cluster.SendGroup("lobby", worker.Text, ev.Data, ev.Client.ID())
	case worker.Close: // a client that was let in is gone
		return nil
	}
	return nil
}

// A worker is its handler and where the registers are.
func ExampleRun() {
	run := func(ctx context.Context, registers []string, secret string, handler worker.Handler) error {
		err := worker.Run(ctx, worker.Config{Group: "chat", Registers: registers, Secret: secret}, handler)
		return err
	}
	_ = run // it goes on until its context ends
	// Output:
}

func ExampleHandler() {
	var h worker.Handler = &pond{login: func([]string) (string, error) { return "ann", nil }}
	open := &worker.Event{Kind: worker.Open, Data: []byte(`{"client":"g1-1-1","remote":"192.0.2.1:5","path":"/"}`)}
	fmt.Println(h.Handle(context.Background(), open))
	// Output: <nil>
}

// Whoever changes the session at the same time, nothing is lost.
func ExampleClient_UpdateSession() {
	add := func(ctx context.Context, ev *worker.Event) error {
		err := ev.Client.UpdateSession(ctx, func(old json.RawMessage) (json.RawMessage, error) {
			var cart []string
			if len(old) > 0 {
				if err := json.Unmarshal(old, &cart); err != nil {
					return nil, err
				}
			}
			return json.Marshal(append(cart, "tadpole"))
		})
		return err
	}
	_ = worker.HandlerFunc(add)
	// Output:
}

// A list is read from the gateways while it is ranged over.
func ExampleCluster_Clients() {
	list := func(ctx context.Context, cluster *worker.Cluster) error {
		for client, err := range cluster.Clients(ctx, worker.ClientsQuery{Group: "lobby", Fields: []string{worker.FieldUID}}) {
			if err != nil {
				return err // at the end: a part may be missing, see below
			}
			fmt.Println(client.Client, client.UID)
		}
		return nil
	}
	_ = list
	// Output:
}

// What is returned beside a PartialError is of the gateways that did answer.
func ExamplePartialError() {
	count := func(ctx context.Context, cluster *worker.Cluster) error {
		n, err := cluster.CountClients(ctx)
		var partial *worker.PartialError
		switch {
		case errors.As(err, &partial):
			log.Printf("at least %d clients; %d gateways do not answer", n, len(partial.Missing))
		case err != nil:
			return err
		}
		return nil
	}
	_ = count
	fmt.Println(&worker.PartialError{Missing: map[bus.GatewayID]error{"g2": context.DeadlineExceeded}})
	// Output: worker: a gateway did not answer: g2: context deadline exceeded
}

// A program that is no worker reaches all clients, too.
func ExampleConnect() {
	push := func(ctx context.Context, registers []string) error {
		conn, err := worker.Connect(ctx, worker.Config{Registers: registers})
		if err != nil {
			return err
		}
		defer conn.Close()
		n, err := conn.Push(ctx, bus.Push{Target: bus.Target{Scope: bus.ToUID, Name: "ann"}, Kind: worker.Text, Data: []byte("you have mail")})
		fmt.Println(n, "clients")
		return err
	}
	_ = push
	// Output:
}
