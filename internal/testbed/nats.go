package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// natsServer is the package of the plain NATS server, of the version that gatebus is
// built with.
const natsServer = "github.com/nats-io/nats-server/v2"

// NATSServer is the path of a plain NATS server. The first call builds it.
func NATSServer() (string, error) {
	built.mu.Lock()
	defer built.mu.Unlock()
	if path := built.paths[natsServer]; path != "" {
		return path, nil
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	if err := makeBuiltLocked(); err != nil {
		return "", err
	}
	path := filepath.Join(built.dir, "nats-server")
	cmd := exec.Command("go", "build", "-o", path, natsServer)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testbed: go build %s: %w\n%s", natsServer, err, out)
	}
	built.paths[natsServer] = path
	return path, nil
}

// NATSCluster is a cluster of plain NATS servers, which gatebus does not run.
type NATSCluster struct {
	// Nodes are its processes.
	Nodes []*Process
	// Addrs are their addresses for clients.
	Addrs []string
}

// StartNATS starts a cluster of so many plain NATS servers and waits until each has
// routes to all others. config is what their configuration files have beside
// addresses, such as users.
func StartNATS(tb TB, nodes int, config string) *NATSCluster {
	tb.Helper()
	path, err := NATSServer()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	dir, err := os.MkdirTemp("", "gatebus-nats-")
	if err != nil {
		tb.Fatalf("testbed: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &NATSCluster{}
	var routes, monitors []string
	for i := range nodes {
		monitors = append(monitors, MustFreeAddr(tb, Host(201+i)))
		c.Addrs = append(c.Addrs, MustFreeAddr(tb, Host(201+i)))
		routes = append(routes, "nats-route://"+MustFreeAddr(tb, Host(201+i)))
	}
	for i := range nodes {
		name := fmt.Sprintf("n%d", i+1)
		text := fmt.Sprintf("server_name: %s\nlisten: %q\nhttp: %q\ncluster {\n  name: theirs\n  listen: %q\n  pool_size: -1\n  routes: [%s]\n}\n%s\n",
			name, c.Addrs[i], monitors[i], strings.TrimPrefix(routes[i], "nats-route://"), `"`+strings.Join(routes, `", "`)+`"`, config)
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			tb.Fatalf("testbed: %v", err)
		}
		c.Nodes = append(c.Nodes, Start(tb, Spec{Name: name, Path: path, Args: []string{"-c", file}}))
	}
	ctx, cancel := Soon()
	defer cancel()
	for i, n := range c.Nodes {
		if err := awaitRoutes(ctx, n.Name, monitors[i], nodes-1); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	return c
}

// awaitRoutes waits until a server says that it has so many routes.
func awaitRoutes(ctx context.Context, name, monitor string, want int) error {
	return Poll(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+monitor+"/routez", nil)
		if err != nil {
			return err
		}
		resp, err := admin.Do(req)
		if err != nil {
			return fmt.Errorf("testbed: %s: %w", name, err)
		}
		defer resp.Body.Close()
		var routes struct {
			N int `json:"num_routes"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&routes); err != nil {
			return fmt.Errorf("testbed: %s: routes: %w", name, err)
		}
		if routes.N < want {
			return fmt.Errorf("testbed: %s has %d routes, want %d", name, routes.N, want)
		}
		return nil
	})
}

// URLs are the servers as a NATS client connects to them, separated by commas.
func (c *NATSCluster) URLs() string { return "nats://" + strings.Join(c.Addrs, ",nats://") }
