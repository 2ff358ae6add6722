package examples

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/internal/testbed"
)

// verdict is what the runner in JavaScript says of a vector.
type verdict struct {
	File, Name string
	OK         bool
	Errors     []string
}

// playVectors has the runner play the vectors of a directory against a gateway of
// their own.
func playVectors(t *testing.T, dir string) (verdicts []verdict, code int) {
	t.Helper()
	node := needNode(t)
	g := testbed.NewCluster(t, 0).Gateway("g1", "gateway.ack_wait=1s")
	p := testbed.Start(t, testbed.Spec{
		Name: "vectors", Path: node,
		Args: []string{"node/vectors/run.js", "nats://" + addr(t, g, "bus"), "http://" + addr(t, g, "clients"), dir},
	})
	<-p.Done() // it is bounded: so long for each vector
	ctx, cancel := testbed.Soon()
	defer cancel()
	exit, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(p.Stdout()) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var v verdict
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("the runner says %q: %v", line, err)
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) == 0 {
		t.Fatalf("the runner has played nothing, %v:\n%s", exit, p.Log())
	}
	return verdicts, exit.Code
}

// TestVectors plays the vectors of the protocol by a client that shares no code with
// gatebus.
func TestVectors(t *testing.T) {
	verdicts, code := playVectors(t, "../docs/protocol")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	played := map[string]int{}
	for _, v := range verdicts {
		played[v.File]++
		if !v.OK {
			t.Errorf("%s: %s: %s", v.File, v.Name, strings.Join(v.Errors, "; "))
		}
	}
	files, err := filepath.Glob("../docs/protocol/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Vectors []any }
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		if n := played[filepath.Base(path)]; n != len(file.Vectors) {
			t.Errorf("%s: %d of %d vectors were played", path, n, len(file.Vectors))
		}
	}
}

// TestVectorsBite falsifies one thing that each vector wants of a gateway, and wants
// the client in JavaScript to notice every time.
func TestVectorsBite(t *testing.T) {
	dir := t.TempDir()
	paths, err := filepath.Glob("../docs/protocol/*.json")
	if err != nil {
		t.Fatal(err)
	}
	played := map[string]string{} // what is wrong, by file and name
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Vectors []map[string]any `json:"vectors"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		for i, v := range file.Vectors {
			want := v["want"].(map[string]any)
			for _, part := range []string{"reply", "open", "push"} { // not a gateway's
				delete(want, part)
			}
			places := leaves(want, "want")
			if len(places) == 0 {
				continue // nothing that a client sees
			}
			l := places[i%len(places)]
			l.falsify()
			played[filepath.Base(path)+"/"+v["name"].(string)] = l.path
		}
		if data, err = json.Marshal(file); err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	verdicts, code := playVectors(t, dir)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	noticed := 0
	for _, v := range verdicts {
		where, wrong := played[v.File+"/"+v.Name]
		switch {
		case wrong && v.OK:
			t.Errorf("%s: %s: nobody notices that %s is wrong", v.File, v.Name, where)
		case wrong:
			noticed++
		case !v.OK:
			t.Errorf("%s: %s is right, and fails: %s", v.File, v.Name, v.Errors)
		}
	}
	if noticed < 250 {
		t.Errorf("only %d vectors were wrong", noticed)
	}
}

// leaf is one thing that is wanted.
type leaf struct {
	path    string
	falsify func()
}

// leaves are the things that are wanted, in an order of their own.
func leaves(v any, path string) (all []leaf) {
	set := func(key string, old any, put func(any)) {
		switch old := old.(type) {
		case map[string]any:
			all = append(all, leaves(old, key)...)
		case []any:
			if len(old) == 0 {
				all = append(all, leaf{key, func() { put([]any{"more"}) }})
			}
			all = append(all, leaves(old, key)...)
		case string:
			all = append(all, leaf{key, func() { put(old + "x") }})
		case float64:
			all = append(all, leaf{key, func() { put(old + 1) }})
		case bool:
			all = append(all, leaf{key, func() { put(!old) }})
		case nil:
			all = append(all, leaf{key, func() { put("something") }})
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if key != "by" && key != "reconnect" { // said to readers
				set(path+"."+key, v[key], func(x any) { v[key] = x })
			}
		}
	case []any:
		for i := range v {
			set(path+"["+strconv.Itoa(i)+"]", v[i], func(x any) { v[i] = x })
		}
	}
	return all
}
