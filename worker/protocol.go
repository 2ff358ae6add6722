package worker

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/gatebus/gatebus/register"
)

// refuse notes that a gateway is not linked to, and says so once in each life of it.
func (w *Worker) refuse(m register.Member, err error) {
	w.mu.Lock()
	_, known := w.refused[keyOf(m)]
	w.refused[keyOf(m)] = err
	w.mu.Unlock()
	if !known {
		w.log.Error("gateway is not linked to: it speaks another protocol", "gateway", m.Name, "address", m.Address, "version", m.Version, "err", err)
	}
}

// pardon forgets that a gateway was refused.
func (w *Worker) pardon(m register.Member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.refused, keyOf(m))
}

// Refused says which gateways the worker does not link to, because they speak a
// protocol of another major: a *bus.ProtocolError for each, joined; nil if there is none.
// It may be called at any time.
func (w *Worker) Refused() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, k := range slices.SortedFunc(maps.Keys(w.refused), func(a, b linkKey) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.epoch, b.epoch))
	}) {
		errs = append(errs, w.refused[k])
	}
	return errors.Join(errs...)
}
