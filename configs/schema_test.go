package configs

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Kinds that no key has yet must not fail when the first one comes.
func TestKinds(t *testing.T) {
	type deep struct {
		Names map[string]string `koanf:"names"`
		Ratio float64           `koanf:"ratio"`
		Small uint8             `koanf:"small"`
		Not   func()            `koanf:"-"`
	}
	root, _ := schemaOf(reflect.TypeFor[struct {
		Deep *deep `koanf:"deep"`
	}]())
	in := deep{Names: map[string]string{"/a.b": "x", "c": "y"}, Ratio: 0.1, Small: 200}
	v := reflect.ValueOf(struct{ Deep *deep }{&in})

	out, err := yaml.Marshal(root.node(v))
	if err != nil {
		t.Fatal(err)
	}
	f := file{name: "t", layer: newLayer()}
	f.section(root, f.parse(out))
	if len(f.problems) > 0 {
		t.Fatalf("of\n%s%v", out, f.problems.err())
	}
	want := map[string]any{"deep.names": in.Names, "deep.ratio": 0.1, "deep.small": uint64(200)}
	if !reflect.DeepEqual(f.layer.values, want) {
		t.Errorf("got %v, want %v", f.layer.values, want)
	}

	section := root.find("deep")
	for _, tt := range []struct{ key, value, want string }{
		{"names", "a=b, c=d", ""},
		{"names", "a=b,a=c", `"a=b,a=c" is not a list of name=value, each name once; write a=b,c=d`},
		{"names", "a", `"a" is not a list of name=value, each name once; write a=b,c=d`},
		{"ratio", "NaN", `"NaN" is not a number; write one such as 1`},
		{"ratio", "x", `"x" is not a number; write one such as 1`},
		{"small", "256", `"256" is out of range; write a number such as 1`},
		{"small", "-1", `"-1" is not a whole number; write one such as 1`},
	} {
		got := ""
		if _, err := section.find(tt.key).parse(tt.value); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s=%s: error %q, want %q", tt.key, tt.value, got, tt.want)
		}
	}
}

func TestSchemaPanics(t *testing.T) {
	for name, typ := range map[string]reflect.Type{
		"no tag": reflect.TypeFor[struct{ A string }](),
		"no kind": reflect.TypeFor[struct {
			A chan int `koanf:"a"`
		}](),
		"twice": reflect.TypeFor[struct {
			A, B string `koanf:"a"`
		}](),
		"with dot": reflect.TypeFor[struct {
			A string `koanf:"a.b"`
		}](),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "configs: ") {
					t.Errorf("recovered %v", s)
				}
			}()
			schemaOf(typ)
		})
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m", time.Hour: "1h",
		time.Hour + time.Second: "1h0m1s", 10 * time.Hour: "10h", 20*time.Minute + time.Hour: "1h20m", 1500 * time.Microsecond: "1.5ms",
	} {
		got := formatDuration(d)
		if back, err := time.ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v is written %s, want %s; read back %v, %v", d, got, want, back, err)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "name", "hold", "queue_bytes", "queue_frames"}
	for s, want := range map[string]string{
		"lisen": "listen", "Name": "name", "queue_byte": "queue_bytes", "holds": "hold", "x": "", "": "", "ttl": "",
	} {
		if got := nearest(s, names); got != want {
			t.Errorf("nearest to %q is %q, want %q", s, got, want)
		}
	}
}
