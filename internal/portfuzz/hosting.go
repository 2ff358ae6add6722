package portfuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatebus/gatebus/internal/keys"
	"github.com/gatebus/gatebus/register"
)

// hosting is those who behave, and what has happened to them.
type hosting struct {
	// set at construction
	stage    *stage
	patience time.Duration
	logf     func(string, ...any)
	recent   func() []string // attempts
	logs     string          // directory for the logs at the first fault; "": none
	client   *http.Client

	mu      sync.Mutex
	frames  int64
	asked   int64
	slowest time.Duration
	broken  []string
}

// maxBroken is how many faults are told.
const maxBroken = 50

// harmed notes what has gone wrong, and what went on at that time.
func (h *hosting) harmed(where, format string, args ...any) {
	text := where + ": " + fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.broken) >= maxBroken {
		return
	}
	h.broken = append(h.broken, text)
	h.logf("BROKEN %s", text)
	if len(h.broken) == 1 {
		h.logf("the attempts before: %s", strings.Join(h.recent(), " "))
		h.keepLogs()
	}
}

// keepLogs writes what the processes have logged so far.
func (h *hosting) keepLogs() {
	if h.logs == "" {
		return
	}
	for _, p := range h.stage.processes {
		if err := os.WriteFile(filepath.Join(h.logs, p.Name+".log"), []byte(p.Log()), 0o600); err != nil {
			h.logf("%v", err)
		}
	}
}

func (h *hosting) answered(after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames++
	h.slowest = max(h.slowest, after)
}

// serve has everybody behave until ctx ends, and returns when they have left.
func (h *hosting) serve(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, at := range h.stage.doors {
		if at.guests {
			wg.Go(func() { h.stay(ctx, at) })
			wg.Go(func() { h.come(ctx, at) })
		}
	}
	wg.Go(func() { h.askAPI(ctx) })
	wg.Go(func() { h.askRegisters(ctx) })
	for _, p := range h.stage.processes {
		wg.Go(func() {
			for wait(ctx, newcomerEvery) {
				if body, err := h.get(ctx, h.stage.admins[p.Name], "/healthz"); err != nil && ctx.Err() == nil {
					h.harmed(p.Name, "its health: %v %s", err, body)
				}
			}
		})
		wg.Go(func() {
			select {
			case <-p.Done():
				h.harmed(p.Name, "the process has ended")
			case <-ctx.Done():
			}
		})
	}
}

// get asks an admin listener; anything but 200 is an error, and 207 (not all have
// answered) unless it is fake gateways that have not: who has the key of gateways can
// announce some.
func (h *hosting) get(ctx context.Context, addr, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+h.stage.token)
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		if resp.StatusCode != http.StatusMultiStatus || bytes.Contains(body, []byte(`"front"`)) || bytes.Contains(body, []byte(`"wild"`)) {
			err = errors.New(resp.Status)
		}
	}
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	return body, err
}

// askAPI asks the HTTP API who is there, each second.
func (h *hosting) askAPI(ctx context.Context) {
	for wait(ctx, newcomerEvery) {
		body, err := h.get(ctx, h.stage.api, "/api/v1/counts")
		if err != nil && ctx.Err() == nil {
			h.harmed("api", "it answers %.2000q, %v", body, err)
		}
	}
}

// askRegisters asks each register who is there, each second, over a connection of an
// observer that lasts. Whoever is there must be on the list.
func (h *hosting) askRegisters(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, addr := range h.stage.cluster.Registers {
		wg.Go(func() {
			nc, err := nats.Connect("nats://"+addr, append(h.stage.keys.ConnectOptions(keys.RoleObserver), nats.NoReconnect(), nats.Timeout(h.patience))...)
			if err != nil {
				h.harmed("register "+addr, "an observer cannot connect: %v", err)
				return
			}
			defer nc.Close()
			for wait(ctx, newcomerEvery) {
				if err := h.members(nc); err != nil {
					h.harmed("register "+addr, "%v", err)
				}
			}
		})
	}
}

func (h *hosting) members(nc *nats.Conn) error {
	m, err := nc.Request(register.MembersSubject, nil, h.patience)
	if err != nil {
		return fmt.Errorf("it does not tell who is there: %w", err)
	}
	var list struct{ Members []register.Member }
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return err
	}
	missing := map[string]bool{"front": true, "wild": true, "w1": true, "w2": true}
	for _, m := range list.Members {
		delete(missing, m.Name)
	}
	if len(missing) > 0 {
		return fmt.Errorf("of its members are missing: %v", missing)
	}
	return nil
}
