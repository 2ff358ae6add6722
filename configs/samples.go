package configs

import (
	"embed"
	"io/fs"
)

// samples are the files beside this one. gatebus.yaml is the reference: every
// key, what it means, and its default.
//
//go:embed *.yaml todpole/*.yaml
var samples embed.FS

// Samples lists the names of the samples: gatebus.yaml, todpole/host1.yaml...
func Samples() []string {
	top, _ := fs.Glob(samples, "*.yaml")
	below, _ := fs.Glob(samples, "*/*.yaml")
	return append(top, below...)
}

// Sample is the content of the sample with that name.
func Sample(name string) ([]byte, bool) {
	data, err := samples.ReadFile(name)
	return data, err == nil
}

// Dev is the source of what "gatebus dev" runs: a register, a gateway and a
// chat worker on loopback, with the default ports.
func Dev() Source {
	const name = "dev.yaml"
	data, _ := Sample(name)
	return Source{Name: name, Data: data}
}
