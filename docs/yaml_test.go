package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatebus/gatebus/configs"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// What the documents show of a file is taken as it stands there, but for the files that
// it names, which are not there.
func TestYAML(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, page := range append(pages, "../README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range yamlBlock.FindAllStringSubmatch(string(data), -1) {
			if strings.HasPrefix(block[1], "scrape_configs:") { // of Prometheus
				continue
			}
			n++
			file := filepath.Join(t.TempDir(), "host.yaml")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			src := configs.Source{File: file}
			if !strings.Contains(block[1], "nats: {") { // its own NATS knows no secret
				src.Environ = []string{"GATEBUS_SECRET=" + strings.Repeat("x", 32)}
			}
			_, err := configs.Load(src)
			if err == nil {
				continue
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				// A key for all to copy would be none.
				if !strings.Contains(line, "no such file") && !strings.Contains(line, "signing_keys[0]: what follows whsec_ is not base64") {
					t.Errorf("%s: %s", page, strings.TrimPrefix(line, file))
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page shows a file")
	}
}
