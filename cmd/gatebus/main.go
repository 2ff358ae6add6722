// Command gatebus runs the roles of a gatebus host: register, gateway, worker.
//
// It exits with 0 when all went well, with 1 when something failed, and with 2
// when the command line or the configuration is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gatebus/gatebus/configs"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := untilSignal()
	defer stop()

	cmd := newRoot()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "gatebus: %v\n", err)
	var (
		failure *failedError
		config  *configs.Error
	)
	if errors.As(err, &failure) && !errors.As(err, &config) {
		return exitFailed
	}
	return exitUsage // everything that is found before something is run
}

// untilSignal is a context that the first SIGINT or SIGTERM ends, for what runs
// to drain. By the time it ends, signals do what they do by default again, so
// that the second one ends the process at once: with signal.NotifyContext that
// would be so only a moment later, and a second signal in between be lost.
func untilSignal() (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer cancel()
		defer signal.Stop(signals)
		select {
		case <-signals:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// failedError is an error of something that ran, not of how it was called.
type failedError struct{ err error }

func (e *failedError) Error() string { return e.err.Error() }
func (e *failedError) Unwrap() error { return e.err }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failedError{err}
}
