package bus

import "fmt"

// MarkSticky sets the header that asks the worker to name itself. The message
// gets headers of its own.
func MarkSticky(m *Msg) { setHeader(m, HeaderRoute, RouteSticky) }

// NameWorker names the worker in its reply to an event that asks for it.
func NameWorker(m *Msg, at WorkerAddress) { setHeader(m, HeaderWorker, string(at)) }

// WorkerOf is how the worker of a reply has named itself, "" if it has not.
func WorkerOf(m *Msg) (WorkerAddress, error) {
	v := m.Header.Get(HeaderWorker)
	if v == "" {
		return "", nil
	}
	at := WorkerAddress(v)
	if err := at.Check(); err != nil {
		return "", fmt.Errorf("bus: %w: %s: %w", ErrMessage, HeaderWorker, err)
	}
	return at, nil
}
