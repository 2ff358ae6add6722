package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The pauses between tries: the first is up to minPause, each next one up to
// twice as long, to maxPause at most.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

const (
	// maxErrorBody is how much of a response that is no success is read, in bytes.
	maxErrorBody = 4 << 10
	// maxQuoted is how much of it an error quotes.
	maxQuoted = 200
)

// response is what a receiver has answered.
type response struct {
	status int
	header http.Header
	body   []byte
}

// success tells whether it is 2xx.
func (r *response) success() bool { return r.status >= 200 && r.status <= 299 }

// forNow tells whether the request can be answered otherwise some time later.
func (r *response) forNow() bool {
	switch r.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return r.status >= 500
}

// permanentError is a failure that no further try can mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// unansweredError is a failure for want of an answer: later there may be one.
type unansweredError struct{ error }

func (e unansweredError) Unwrap() error { return e.error }

// exchange posts a request, until there is an answer that stands or there have
// been enough tries. The error says what the last try came to.
func (h *Handler) exchange(ctx context.Context, r *request) (*response, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.MaxElapsed, fmt.Errorf("max_elapsed of %v is over", h.cfg.MaxElapsed))
	defer cancel()
	for try := 1; ; try++ {
		h.count.requests.Add(1)
		resp, err := h.try(ctx, r, try)
		if err == nil && !resp.forNow() {
			return resp, nil
		}
		if err == nil {
			err = resp.unwanted()
		}
		if permanent := (permanentError{}); errors.As(err, &permanent) {
			return nil, fmt.Errorf("webhook: %s: %w", h.where, err)
		}
		pause := pauseAfter(try)
		if resp != nil {
			pause = max(pause, retryAfter(resp.header, time.Now()))
		}
		why := h.mayWait(ctx, try, pause)
		if why == nil {
			h.retried(r, try, pause, err)
			why = wait(ctx, pause)
		}
		if why != nil {
			return nil, unansweredError{fmt.Errorf("webhook: %s: %w (try %d, after %v): %w",
				h.where, why, try, time.Since(start).Round(time.Millisecond), err)}
		}
	}
}

// mayWait says why there is no further try; nil if there is one.
func (h *Handler) mayWait(ctx context.Context, tries int, pause time.Duration) error {
	deadline, _ := ctx.Deadline()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case tries > h.cfg.Retries:
		return errors.New("no retries are left")
	case time.Until(deadline) < pause:
		return fmt.Errorf("the next try in %v would be too late", pause.Round(time.Millisecond))
	}
	return nil
}

// pauseAfter is how long to wait after so many tries. Half of it is random, so
// that what failed together does not come again together.
func pauseAfter(tries int) time.Duration {
	d := maxPause
	if shift := tries - 1; shift < 16 {
		d = min(minPause<<shift, maxPause)
	}
	return d/2 + rand.N(d/2)
}

// retryAfter is what a Retry-After header asks for, seconds or a date; 0 if
// nothing that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// wait waits, or says why that was given up.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post is one try.
func (h *Handler) post(ctx context.Context, r *request) (*response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.Timeout, fmt.Errorf("no answer within timeout of %v", h.cfg.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, permanentError{err}
	}
	req.Header = r.header.Clone()
	carryTrace(ctx, req.Header)
	if len(h.signer) > 0 {
		timestamp, signature := h.signer.sign(r.id, time.Now(), r.body)
		req.Header.Set(headerID, r.id)
		req.Header.Set(headerTimestamp, timestamp)
		req.Header.Set(headerSignature, signature)
	}
	// Not http.Client: it would follow redirects, and name the URL with its query
	// in errors.
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return nil, because(ctx, err)
	}
	defer resp.Body.Close()
	answer := &response{status: resp.StatusCode, header: resp.Header}
	limit := int64(h.cfg.MaxResponse)
	if !answer.success() {
		limit = maxErrorBody
	}
	answer.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case !answer.success(): // the status says it, with or without a body
		return answer, nil
	case err != nil:
		return nil, because(ctx, fmt.Errorf("read response: %w", err))
	case int64(len(answer.body)) > limit:
		return nil, permanentError{fmt.Errorf("the response has more than max_response of %d bytes", limit)}
	}
	return answer, nil
}

// because says why a context ended, where an error says only that it did.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// unwanted is the error of a response that is no success.
func (r *response) unwanted() error {
	err := fmt.Sprintf("it answers %d %s", r.status, http.StatusText(r.status))
	if r.status >= 300 && r.status <= 399 {
		return fmt.Errorf("%s (location %.200q), and redirects are not followed: put the final address into url", err, r.header.Get("Location"))
	}
	if len(r.body) > 0 {
		err += fmt.Sprintf(": %.*q", maxQuoted, r.body)
	}
	return errors.New(err)
}
