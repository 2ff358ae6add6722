package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/gatebus/gatebus/configs"
	"github.com/gatebus/gatebus/gateway"
	"github.com/gatebus/gatebus/internal/buildinfo"
	"github.com/gatebus/gatebus/internal/certs"
	"github.com/gatebus/gatebus/internal/metrics"
)

const (
	// spanQueue is how many spans wait to be exported; those that find it full are
	// dropped, and counted.
	spanQueue = 8192
	// spanBatch is how many go in one request at most.
	spanBatch = 512
	// spanPause is how long a span waits for others to go with it.
	spanPause = time.Second
	// exportTimeout is how long one request may take, and exportPatience how long one
	// that failed for now is tried again.
	exportTimeout  = 10 * time.Second
	exportPatience = 30 * time.Second
	// lastSpans is how long a host that stops takes to export what waits.
	lastSpans = 3 * time.Second
	// exportWarning is how often it is worth a line in the log that nobody takes them.
	exportWarning = 30 * time.Second
)

// tracing exports the spans of the roles of this host. It takes the place of the
// SDK's batch processor, which does not say how many spans it has dropped, and is not
// down when its end has taken too long.
type tracing struct {
	// set at construction
	log      *slog.Logger
	warn     *rate.Sometimes
	exporter sdktrace.SpanExporter
	client   *http.Client
	queue    chan sdktrace.ReadOnlySpan
	last     time.Duration // that what waits at the end may take
	ended    atomic.Bool   // nobody takes any more

	exported, failed, dropped atomic.Int64 // spans
}

// newTracing makes what exports spans; nil if there are to be none. It starts nothing.
func newTracing(ctx context.Context, cfg configs.Tracing, log *slog.Logger) (*tracing, error) {
	if !cfg.On() {
		return nil, nil
	}
	url, err := cfg.URL()
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if cfg.CA != "" {
		if transport.TLSClientConfig.RootCAs, err = pool(cfg.CA); err != nil {
			return nil, fmt.Errorf("tracing.ca: %w", err)
		}
	}
	headers := map[string]string{}
	for name, value := range cfg.Headers {
		headers[name] = string(value)
	}
	t := &tracing{
		log: log.With("endpoint", url.Scheme+"://"+url.Host+url.EscapedPath()), warn: &rate.Sometimes{First: 1, Interval: exportWarning},
		queue: make(chan sdktrace.ReadOnlySpan, spanQueue), last: lastSpans,
		client: &http.Client{
			Transport: transport, Timeout: exportTimeout,
			// The headers may be secrets, which are for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	t.exporter, err = otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(url.String()), otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithHTTPClient(t.client), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: exportTimeout, MaxElapsedTime: exportPatience,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	return t, nil
}

func pool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return certs.Pool(data)
}

// provider makes the spans of a role, of that name; nil, as a provider, if there are to
// be none. Who begins a trace has decided about it already: all spans are taken.
func (t *tracing) provider(ctx context.Context, role configs.Role, name string) (trace.TracerProvider, error) {
	if t == nil {
		return nil, nil
	}
	attrs := []attribute.KeyValue{
		attribute.String("service.name", "gatebus-"+string(role)),
		attribute.String("service.version", buildinfo.Version()),
	}
	if name != "" {
		attrs = append(attrs, attribute.String("service.instance.id", name))
	}
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attrs...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return sdktrace.NewTracerProvider(
		sdktrace.WithResource(r), sdktrace.WithSpanProcessor(t), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
	), nil
}

// gatewayTracing says which events are traced.
func (h *Host) gatewayTracing(ctx context.Context) (gateway.Tracing, error) {
	p, err := h.tracing.provider(ctx, configs.RoleGateway, h.cfg.Gateway.Name)
	return gateway.Tracing{Provider: p, Sample: h.cfg.Tracing.Sample, TrustClients: h.cfg.Tracing.TrustClients}, err
}

// configured is the configuration of the gateway with what stands elsewhere.
func (g *gatewayPart) configured(c gateway.Config) gateway.Config {
	c.Tracing = g.tracing
	return c
}

// OnStart makes it a span processor.
func (t *tracing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd takes a span to be exported, or drops it. It never blocks.
func (t *tracing) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if !t.ended.Load() {
		select {
		case t.queue <- s:
			return
		default:
		}
	}
	t.dropped.Add(1)
}

// ForceFlush makes it a span processor; nobody waits for spans.
func (t *tracing) ForceFlush(context.Context) error { return nil }

// Shutdown makes it a span processor; it is run that ends.
func (t *tracing) Shutdown(context.Context) error { return nil }

// run exports spans until ctx ends, and then what waits, for at most as long as last says.
func (t *tracing) run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// An export that is under way then has that long, too.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(t.last, cancel) })()
	defer t.client.CloseIdleConnections()
	for batch := []sdktrace.ReadOnlySpan(nil); ; {
		batch = t.next(ctx, batch[:0])
		if len(batch) == 0 {
			break // ctx has ended, and nothing waits
		}
		t.export(work, batch)
		clear(batch)
	}
	t.ended.Store(true)
	return t.exporter.Shutdown(context.WithoutCancel(ctx)) // it waits for nothing
}

// next waits for spans and appends them to batch. Once ctx has ended it waits no more.
func (t *tracing) next(ctx context.Context, batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	select {
	case s := <-t.queue:
		batch = append(batch, s)
	case <-ctx.Done():
	}
	pause := time.NewTimer(spanPause)
	defer pause.Stop()
	for len(batch) < spanBatch {
		select {
		case s := <-t.queue:
			batch = append(batch, s)
			continue
		default:
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case s := <-t.queue:
			batch = append(batch, s)
		case <-pause.C:
			return batch
		case <-ctx.Done():
		}
	}
	return batch
}

// export sends spans, or counts that it could not.
func (t *tracing) export(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	err := t.exporter.ExportSpans(ctx, batch)
	if err == nil {
		t.exported.Add(int64(len(batch)))
		return
	}
	t.failed.Add(int64(len(batch)))
	t.warn.Do(func() {
		t.log.Warn("traces cannot be exported; they are dropped, and nothing else suffers", "spans", len(batch), "err", err)
	})
}

// Spans are the figures for Prometheus.
func (t *tracing) Spans() metrics.Spans {
	return metrics.Spans{Exported: t.exported.Load(), Failed: t.failed.Load(), Dropped: t.dropped.Load()}
}
