package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Event is what a worker was given to handle.
type Event struct {
	Client   string // the client's id
	Kind     byte   // 'o'pen, 'f'rame or 'c'lose
	Number   int    // of a frame; 0 otherwise
	Delivery int
	Conn     string // of an open: the name of the connection
}

// Handling is one event in the hands of one worker.
type Handling struct {
	Event
	Worker     string
	Start, End time.Duration // by the clock that all processes share; End is 0 if it was not reached
}

// Recorder writes down what one life of a worker handles. Each entry is one write
// to a file, which the end of the process, however it comes, does not undo.
type Recorder struct {
	mu   sync.Mutex
	file *os.File
	next int
}

// NewRecorder creates the file.
func NewRecorder(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: record: %w", err)
	}
	return &Recorder{file: f}, nil
}

// Begin records the beginning of a handling, and returns its number for End.
func (r *Recorder) Begin(e Event, at time.Duration) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.next
	r.next++
	_, err := fmt.Fprintf(r.file, "b %d %d %s %c %d %d %s\n", n, at, e.Client, e.Kind, e.Number, e.Delivery, e.Conn)
	if err != nil {
		return n, fmt.Errorf("ledger: record: %w", err)
	}
	return n, nil
}

// End records the end of a handling.
func (r *Recorder) End(n int, at time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := fmt.Fprintf(r.file, "e %d %d\n", n, at); err != nil {
		return fmt.Errorf("ledger: record: %w", err)
	}
	return nil
}

// Close closes the file.
func (r *Recorder) Close() error { return r.file.Close() }

// ReadRecords calls fn for each handling of a worker's file. A last line that was
// cut off is left out.
func ReadRecords(worker string, r io.Reader, fn func(Handling)) error {
	open := map[string]Handling{}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("ledger: records of %s: %w", worker, err)
		}
		f := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		switch {
		case len(f) == 8 && f[0][0] == 'b':
			h, err := parseBegin(worker, f)
			if err != nil {
				return err
			}
			open[string(f[1])] = h
		case len(f) == 3 && f[0][0] == 'e':
			h, ok := open[string(f[1])]
			at, err := strconv.ParseInt(string(f[2]), 10, 64)
			if !ok || err != nil {
				return fmt.Errorf("ledger: records of %s: %q", worker, line)
			}
			delete(open, string(f[1]))
			h.End = time.Duration(at)
			fn(h)
		default:
			return fmt.Errorf("ledger: records of %s: %q", worker, line)
		}
	}
	for _, h := range open {
		fn(h)
	}
	return nil
}

func parseBegin(worker string, f [][]byte) (Handling, error) {
	at, err := strconv.ParseInt(string(f[2]), 10, 64)
	number, err2 := strconv.Atoi(string(f[5]))
	delivery, err3 := strconv.Atoi(string(f[6]))
	if err := errors.Join(err, err2, err3); err != nil || len(f[4]) != 1 {
		return Handling{}, fmt.Errorf("ledger: records of %s: %q %w", worker, f, err)
	}
	return Handling{
		Event:  Event{Client: string(f[3]), Kind: f[4][0], Number: number, Delivery: delivery, Conn: string(f[7])},
		Worker: worker, Start: time.Duration(at),
	}, nil
}
