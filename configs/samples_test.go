package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatebus/gatebus/worker/handlers"
)

func sample(t *testing.T, name string) *Config {
	t.Helper()
	data, ok := Sample(name)
	if !ok {
		t.Fatalf("there is no sample %s", name)
	}
	return mustLoad(t, Source{Name: name, Data: data})
}

func TestSamples(t *testing.T) {
	want := map[string][]Role{
		"gatebus.yaml":       AllRoles(),
		"dev.yaml":           AllRoles(),
		"register.yaml":      {RoleRegister},
		"gateway.yaml":       {RoleGateway},
		"worker.yaml":        {RoleWorker},
		"todpole/host1.yaml": {RoleRegister, RoleGateway},
		"todpole/host2.yaml": {RoleRegister, RoleGateway},
		"todpole/host3.yaml": {RoleWorker},
		"todpole/host4.yaml": {RoleWorker},
	}
	if got := Samples(); len(got) != len(want) {
		t.Errorf("the samples are %q", got)
	}
	for name, roles := range want {
		t.Run(name, func(t *testing.T) {
			if got := sample(t, name).Roles(); !slices.Equal(got, roles) {
				t.Errorf("roles %v, want %v", got, roles)
			}
		})
	}
	if _, ok := Sample("none.yaml"); ok {
		t.Error("there is a sample none.yaml")
	}
}

// TestReference keeps gatebus.yaml true: every key, in the order of the code,
// with a comment, and with the default of the code.
func TestReference(t *testing.T) {
	data, _ := Sample("gatebus.yaml")
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var reference []string
	var walk func(k *key, n *yaml.Node)
	walk = func(k *key, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, value := n.Content[i], n.Content[i+1]
			path := k.below(name.Value)
			reference = append(reference, path)
			if name.HeadComment == "" {
				t.Errorf("gatebus.yaml:%d: %s has no comment above it", name.Line, path)
			}
			if sub := k.find(name.Value); sub != nil && sub.kind == section {
				walk(sub, value)
			}
		}
	}
	walk(schema, doc.Content[0])

	var declared []string
	var list func(k *key)
	list = func(k *key) {
		for _, sub := range k.keys {
			declared = append(declared, sub.path)
			list(sub)
		}
	}
	list(schema)
	for _, path := range declared {
		if !slices.Contains(reference, path) {
			t.Errorf("gatebus.yaml: %s is missing", path)
		}
	}
	if !t.Failed() && !slices.Equal(reference, declared) {
		t.Errorf("gatebus.yaml has the order\n%q\nthe code\n%q", reference, declared)
	}

	c, want := sample(t, "gatebus.yaml"), Default(AllRoles()...)
	if diff := c.Diff(want); len(diff) != 0 {
		t.Errorf("gatebus.yaml: not the default: %q", diff)
	}

	// The upper bound of a frame is a number that only the gateway knows.
	_, err := Load(Source{Set: []string{fmt.Sprintf("gateway.max_frame=%d", int64(1)<<62)}})
	if err == nil {
		t.Fatal("a frame may be of any size")
	}
	_, bound, _ := strings.Cut(err.Error(), "; from ")
	if !strings.Contains(string(data), "From "+bound+".") {
		t.Errorf("gatebus.yaml: the bound of gateway.max_frame is not %q", bound)
	}
}

func TestDev(t *testing.T) {
	c := mustLoad(t, Dev())
	want := Default(AllRoles()...)
	want.Worker.Handler.Type = handlers.TypeChat
	want.file = c.file
	if !reflect.DeepEqual(c, want) {
		t.Errorf("dev.yaml differs from the defaults in %q", c.Diff(want))
	}
}

// TestTodpole checks that the four hosts are one cluster on four addresses.
func TestTodpole(t *testing.T) {
	for i := 1; i <= 4; i++ {
		addr := func(port int) string { return fmt.Sprintf("127.0.0.%d:%d", i, port) }
		want := Default()
		want.Registers = []string{"nats://127.0.0.1:4222", "nats://127.0.0.2:4222"}
		want.Admin.Listen = addr(8280)
		if i <= 2 {
			d := Default(RoleRegister, RoleGateway)
			want.Register, want.Gateway = d.Register, d.Gateway
			want.Register.Name = fmt.Sprintf("r%d", i)
			want.Register.Listen = addr(4222)
			want.Register.Cluster = Cluster{Name: "todpole", Listen: addr(6222), Routes: []string{"127.0.0.1:6222", "127.0.0.2:6222"}}
			want.Gateway.Name = fmt.Sprintf("g%d", i)
			want.Gateway.Listen = addr(8282)
			want.Gateway.Bus.Listen = addr(8300)
		} else {
			want.Worker = Default(RoleWorker).Worker
			want.Worker.Name = fmt.Sprintf("w%d", i)
			want.Worker.Handler.Type = handlers.TypeChat
		}
		c := sample(t, fmt.Sprintf("todpole/host%d.yaml", i))
		want.file = c.file
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%s is not as it should be in %q", c.file, c.Diff(want))
		}
	}
}
