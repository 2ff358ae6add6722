package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Source says where a configuration comes from. The zero Source is the
// defaults of a host without roles.
type Source struct {
	// File is the path of the YAML file; empty means none.
	File string
	// Data is YAML that is at hand already, such as a sample, and Name what
	// messages call it. If Data is not nil, File is not read.
	Data []byte
	Name string
	// Environ is the environment, as os.Environ gives it; nil means none.
	Environ []string
	// Set are the key=value pairs of --set flags, a later one over an earlier.
	Set []string
	// Roles are on this host even if nothing names their sections.
	Roles []Role
}

// Load reads, merges and checks a configuration. Its error is an [*Error] that
// holds all that is wrong.
func Load(src Source) (*Config, error) {
	return load(src, readFile)
}

// load is Load with the reading of files as a parameter.
func load(src Source, read func(path string, limit int64) ([]byte, error)) (*Config, error) {
	l := loader{read: read, file: src.Name}
	if src.Data == nil && src.File != "" {
		l.file = src.File
		data, err := read(src.File, maxFile)
		if err != nil {
			l.problems.add(Origin{File: src.File}, "", "cannot be read: %w", reason(err))
			return nil, l.problems.err()
		}
		src.Data, l.dir = data, filepath.Dir(src.File)
	}
	l.layer(fileLayer(l.file, src.Data))
	l.layer(environLayer(src.Environ))
	l.layer(flagLayer(src.Set))
	if err := l.merge(src.Roles); err != nil {
		return nil, err
	}
	l.readSecrets()
	l.certificates()
	l.handover()
	l.deriveRegisters()
	l.check()
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return l.config, nil
}

// loader is one run of Load.
type loader struct {
	read func(path string, limit int64) ([]byte, error)
	file string // as messages name it
	dir  string // where relative paths of the file start; empty without one

	layers   []layer // the lowest first
	problems problems

	config *Config
}

func (l *loader) layer(next layer, ps problems) {
	l.layers = append(l.layers, next)
	l.problems = append(l.problems, ps...)
}

// merge makes the config of the layers over the defaults of the roles that
// they name.
func (l *loader) merge(force []Role) error {
	var roles []Role
	for _, r := range AllRoles() {
		if slices.Contains(force, r) || slices.ContainsFunc(l.layers, func(l layer) bool { return l.names(r) }) {
			roles = append(roles, r)
		}
	}
	for _, r := range force {
		if !slices.Contains(AllRoles(), r) {
			l.problems.add(Origin{}, "", "%q is not a role; there are register, gateway, worker and api", string(r))
		}
	}
	ko := koanf.New(".")
	if err := ko.Load(confmap.Provider(schema.values(Default(roles...)), "."), nil); err != nil {
		return fmt.Errorf("configs: defaults: %w", err)
	}
	for _, layer := range l.layers {
		if err := ko.Load(confmap.Provider(layer.values, "."), nil); err != nil {
			return fmt.Errorf("configs: merge: %w", err)
		}
	}
	l.config = &Config{file: l.file}
	// Every value has its type by now: what fails here is a mistake in here.
	err := ko.UnmarshalWithConf("", l.config, koanf.UnmarshalConf{
		DecoderConfig: &mapstructure.DecoderConfig{ErrorUnused: true},
	})
	if err != nil {
		return fmt.Errorf("configs: decode: %w", err)
	}
	return nil
}

// origin is where the value of a key, or an element of it, was set: in the
// highest layer that says something about it. Without one it is the file, for
// that is where it could be said.
func (l *loader) origin(key string) Origin {
	holders := holdersOf(key)
	for _, layer := range slices.Backward(l.layers) {
		if o, ok := layer.origins[key]; ok {
			return o
		}
		for _, holder := range holders { // where its elements stand, only a file knows
			if o, ok := layer.origins[holder]; ok {
				return o
			}
		}
	}
	return Origin{File: l.file}
}

// holdersOf are what an element stands in, as messages name them, the nearest
// first, up to the key that holds them all; none if the key is not an element's.
func holdersOf(key string) []string {
	var holders []string
	for i := len(key) - 1; i > 0; i-- {
		if key[i] != '.' && key[i] != '[' {
			continue
		}
		holders = append(holders, key[:i])
		if k := byPath[key[:i]]; k != nil {
			if k.kind == section {
				return nil
			}
			return holders
		}
	}
	return nil
}

// isSet tells whether any layer says something about a key.
func (l *loader) isSet(key string) bool {
	return slices.ContainsFunc(l.layers, func(l layer) bool { _, ok := l.origins[key]; return ok })
}

func (l *loader) bad(key, format string, args ...any) {
	l.problems.add(l.origin(key), key, format, args...)
}

// reason is why a file cannot be read, without its path, which the messages
// name already.
func reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
