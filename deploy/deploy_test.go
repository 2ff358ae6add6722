// Package deploy_test keeps the deployment files and the program alike.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatebus/gatebus/configs"
)

// requireAll fails what would be skipped for want of a tool.
var requireAll = os.Getenv("GATEBUS_TEST_REQUIRE_ALL") == "1"

const secret = "of the tests of the deployment files"

// load loads a host's file as the program would.
func load(t *testing.T, data []byte, set ...string) *configs.Config {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"secret": secret, "host.yaml": string(data)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := configs.Source{File: filepath.Join(dir, "host.yaml"), Set: set}
	if bytes.Contains(data, []byte("secret_file:")) {
		src.Set = append(src.Set, "secret_file="+filepath.Join(dir, "secret"))
	} else {
		src.Environ = []string{"GATEBUS_SECRET=" + secret}
	}
	cfg, err := configs.Load(src)
	if err != nil {
		t.Fatalf("%s\n%v", data, err)
	}
	if err := cfg.Require(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// The hosts of the compose file have files that are right, and each is used.
func TestCompose(t *testing.T) {
	data, err := os.ReadFile("docker/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Volumes []string
			Ports   []string
			Build   struct{ Dockerfile string }
		}
	}
	if err := yaml.Unmarshal(data, &compose); err != nil {
		t.Fatal(err)
	}
	if len(compose.Services) != 4 {
		t.Errorf("%d hosts", len(compose.Services))
	}
	for host, s := range compose.Services {
		if s.Build.Dockerfile != "deploy/docker/Dockerfile" || len(s.Volumes) != 1 {
			t.Fatalf("%s: %+v", host, s)
		}
		file, to, _ := strings.Cut(s.Volumes[0], ":")
		if !strings.HasPrefix(to, "/etc/gatebus/gatebus.yaml") {
			t.Errorf("%s has its file at %s", host, to)
		}
		data, err := os.ReadFile(filepath.Join("docker", file))
		if err != nil {
			t.Fatal(err)
		}
		cfg := load(t, data)
		if gateway := cfg.Gateway != nil; gateway != (len(s.Ports) == 1) || gateway == (cfg.Worker != nil) || gateway && cfg.Advertise != host {
			t.Errorf("%s: ports %v, advertise %q", host, s.Ports, cfg.Advertise)
		}
	}
}

// object is as much of an object of Kubernetes as is looked at.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Selector any
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct{ Args []string }
			}
		}
	}
}

// Each workload runs a file of the map that is right, with the flags it has, and has
// the time that its drain may take.
func TestKubernetes(t *testing.T) {
	data, err := os.ReadFile("kubernetes/gatebus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]string
	workloads := 0
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch o.Kind {
		case "ConfigMap":
			files = o.Data
		case "StatefulSet", "Deployment":
			workloads++
			args := o.Spec.Template.Spec.Containers[0].Args
			if args[0] != "run" || args[1] != "-c" {
				t.Fatalf("%s: %q", o.Metadata.Name, args)
			}
			file := files[filepath.Base(args[2])]
			if file == "" {
				t.Fatalf("%s runs %s, which is not in the map", o.Metadata.Name, args[2])
			}
			var set []string
			for i, a := range args {
				if a == "--set" {
					set = append(set, strings.NewReplacer("$(POD)", "pod-0", "$(ADDRESS)", "10.0.0.7").Replace(args[i+1]))
				}
			}
			cfg := load(t, []byte(file), set...)
			grace := o.Spec.Template.Spec.TerminationGracePeriodSeconds
			if cfg.Gateway != nil && int(cfg.Gateway.Drain.Seconds()) >= grace || cfg.Worker != nil && int(cfg.Worker.Drain.Seconds()) >= grace {
				t.Errorf("%s is killed after %d s, in the middle of its drain", o.Metadata.Name, grace)
			}
			if cfg.Gateway != nil && (cfg.Gateway.Name != "pod-0" || cfg.Advertise != "10.0.0.7") {
				t.Errorf("%s: name %q, advertise %q", o.Metadata.Name, cfg.Gateway.Name, cfg.Advertise)
			}
		}
	}
	if workloads != 3 {
		t.Errorf("%d workloads", workloads)
	}
}

// systemd finds nothing wrong with the unit.
func TestSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		const why = "needs systemd-analyze: apt-get install systemd"
		if requireAll {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	data, err := os.ReadFile("systemd/gatebus@.service")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("\nLoadCredential=")) {
		t.Error("systemd copies what LoadCredential= names once: a reload would read an old secret")
	}
	self, err := os.Executable() // as the program, which need not be there
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "gatebus@.service")
	if err := os.WriteFile(unit, bytes.ReplaceAll(data, []byte("/usr/local/bin/gatebus"), []byte(self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
