package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatebus/gatebus/bus"
)

var requestCases = []Case{
	{"request/answer", requestAnswer},
	{"request/first answer wins", requestFirst},
	{"request/concurrent", requestConcurrent},
	{"request/no responders", requestNobody},
	{"request/context ends", requestContext},
	{"request/connection closes", requestClose},
}

// answer makes a callback that answers on c with what reply makes.
func (f *fixture) answer(c bus.Conn, reply func(*bus.Msg) []*bus.Msg) func(*bus.Msg) {
	return func(m *bus.Msg) {
		for _, a := range reply(m) {
			a.Subject = m.Reply
			if err := c.Publish(a); err != nil {
				f.Errorf("Publish: %v", err)
			}
		}
	}
}

func echo(m *bus.Msg) []*bus.Msg { return []*bus.Msg{{Header: m.Header, Data: m.Data}} }

func requestAnswer(f *fixture) {
	c, worker := f.conn(), f.conn()
	f.join(worker, "ask.*", "q", f.answer(worker, echo))
	m := &bus.Msg{Subject: "ask.me", Header: bus.Header{"Gb-Kind": {"binary"}}, Data: []byte("question\r\n\x00")}
	a, err := c.Request(f.bounded(), m)
	if err != nil {
		f.Fatalf("Request: %v", err)
	}
	if string(a.Data) != string(m.Data) || a.Header.Get("Gb-Kind") != "binary" {
		f.Errorf("answered %q with %v", a.Data, a.Header)
	}
	if m.Reply != "" || m.Subject != "ask.me" {
		f.Errorf("Request changed the message: %q, reply %q", m.Subject, m.Reply)
	}
	// An empty answer is one too.
	a, err = c.Request(f.bounded(), &bus.Msg{Subject: "ask.me"})
	if err != nil || len(a.Data) != 0 {
		f.Errorf("empty request: %v, %v", a, err)
	}
	// One may ask oneself.
	f.join(c, "self", "q", f.answer(c, echo))
	if a, err = c.Request(f.bounded(), numbered("self", 5)); err != nil || string(a.Data) != "5" {
		f.Errorf("request to oneself: %v, %v", a, err)
	}
}

func requestFirst(f *fixture) {
	c, worker := f.conn(), f.conn()
	f.subscribe(worker, f.answer(worker, func(m *bus.Msg) []*bus.Msg {
		return []*bus.Msg{{Data: append([]byte("first "), m.Data...)}, {Data: []byte("second")}}
	}), "twice")
	for i := range 20 {
		a, err := c.Request(f.bounded(), numbered("twice", i))
		if want := fmt.Sprint("first ", i); err != nil || string(a.Data) != want {
			f.Fatalf("got %v, %v; want %q", a, err, want)
		}
	}
}

func requestConcurrent(f *fixture) {
	c, worker := f.conn(), f.conn()
	f.subscribe(worker, f.answer(worker, echo), "ask")
	ctx := f.bounded()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 20 {
				m := numbered("ask", 100*i+j)
				if a, err := c.Request(ctx, m); err != nil || string(a.Data) != string(m.Data) {
					f.Errorf("%s was answered with %v, %v", m.Data, a, err)
				}
			}
		})
	}
	wg.Wait()
}

func requestNobody(f *fixture) {
	c := f.conn()
	for range 3 {
		if _, err := c.Request(f.bounded(), &bus.Msg{Subject: "nobody", Data: []byte("x")}); !errors.Is(err, bus.ErrNoResponders) {
			f.Errorf("Request = %v, want ErrNoResponders", err)
		}
	}
}

func requestContext(f *fixture) {
	c, worker := f.conn(), f.conn()
	r := newRecord()
	f.subscribe(worker, r.add, "silent")

	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Request(short, &bus.Msg{Subject: "silent"}); !errors.Is(err, context.DeadlineExceeded) {
		f.Errorf("Request = %v, want DeadlineExceeded", err)
	}

	canceled, stop := context.WithCancelCause(context.Background())
	cause := errors.New("the user went away")
	result := make(chan error, 1)
	go func() {
		_, err := c.Request(canceled, &bus.Msg{Subject: "silent"})
		result <- err
	}()
	r.await(f, 2)
	stop(cause)
	if err := wait(f, "Request", result); !errors.Is(err, cause) {
		f.Errorf("Request = %v, want the cause of its context", err)
	}

	// A late answer bothers nobody.
	for _, m := range r.all() {
		f.publish(worker, &bus.Msg{Subject: m.Reply, Data: []byte("late")})
	}
	f.flush(worker, c)
	f.subscribe(worker, f.answer(worker, echo), "ask")
	if a, err := c.Request(f.bounded(), numbered("ask", 1)); err != nil || string(a.Data) != "1" {
		f.Errorf("Request = %v, %v", a, err)
	}
}

func requestClose(f *fixture) {
	c, worker := f.conn(), f.conn()
	r := newRecord()
	f.subscribe(worker, r.add, "silent")
	result := make(chan error, 1)
	go func() {
		_, err := c.Request(context.Background(), &bus.Msg{Subject: "silent"})
		result <- err
	}()
	r.await(f, 1)
	c.Close()
	if err := wait(f, "Request", result); !errors.Is(err, bus.ErrClosed) {
		f.Errorf("Request = %v, want ErrClosed", err)
	}
}
