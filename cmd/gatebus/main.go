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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal drains; then signals do what they do by default, so
	// that the second one ends the process at once.
	context.AfterFunc(ctx, stop)

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
