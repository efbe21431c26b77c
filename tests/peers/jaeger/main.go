// A Jaeger of its parts that the test needs: it takes spans over OTLP, keeps them in memory and answers Jaeger's query API (v3).
// Whoever builds it puts it below cmd/ of Jaeger's own source, whose packages it is made of; Jaeger whole is four times as many.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	nometric "go.opentelemetry.io/otel/metric/noop"
	notrace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/jaegertracing/jaeger/cmd/query/app/apiv3"
	"github.com/jaegertracing/jaeger/cmd/query/app/querysvc/v2/querysvc"
	"github.com/jaegertracing/jaeger/internal/storage/v1/memory"
	memorystore "github.com/jaegertracing/jaeger/internal/storage/v2/memory"
)

const (
	maxTraces   = 10_000
	headTimeout = 5 * time.Second
)

type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

func main() {
	otlp := flag.String("otlp", "", "host:port that takes spans, OTLP/gRPC")
	query := flag.String("query", "", "host:port that answers questions, HTTP")
	flag.Parse()
	ending, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ending, *otlp, *query); err != nil {
		log.Fatal(err)
	}
}

func run(ending context.Context, otlp, query string) error {
	store, err := memorystore.NewStore(memory.Configuration{MaxTraces: maxTraces})
	if err != nil {
		return err
	}
	spans, err := receive(ending, otlp, store)
	if err != nil {
		return err
	}
	gateway := apiv3.HTTPGateway{
		QueryService: querysvc.NewQueryService(store, store, querysvc.QueryServiceOptions{}),
		Logger:       zap.NewNop(),
		Tracer:       notrace.NewTracerProvider(),
	}
	router := mux.NewRouter()
	gateway.RegisterRoutes(router)
	server := &http.Server{Addr: query, Handler: router, ReadHeaderTimeout: headTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err = <-failed:
	case <-ending.Done():
		err = server.Close()
	}
	if stopped := spans.Shutdown(context.Background()); err == nil {
		err = stopped
	}
	return err
}

func receive(ctx context.Context, address string, store *memorystore.Store) (receiver.Traces, error) {
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	listen := confignet.AddrConfig{Endpoint: address, Transport: confignet.TransportTypeTCP}
	config.GRPC = configoptional.Some(configgrpc.ServerConfig{NetAddr: listen})
	next, err := consumer.NewTraces(store.WriteTraces)
	if err != nil {
		return nil, err
	}
	settings := receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger:         zap.NewNop(),
			TracerProvider: notrace.NewTracerProvider(),
			MeterProvider:  nometric.NewMeterProvider(),
		},
	}
	spans, err := factory.CreateTraces(ctx, settings, config, next)
	if err != nil {
		return nil, err
	}
	return spans, spans.Start(ctx, host{})
}
