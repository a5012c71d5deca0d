package main

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
)

// demoCmd is `depthcast demo`: a broker in the process, a simulated market that is
// a producer like any other, and the server that reads from the broker.
type demoCmd struct {
	simFlags    `embed:""`
	serverFlags `embed:""`

	KafkaPort  int    `help:"Port of the embedded broker, at 127.0.0.1. 0: a free one." default:"0"`
	DataDir    string `help:"Folder where the embedded broker keeps its records. Default: memory." type:"path" placeholder:"DIR"`
	Partitions int32  `help:"Partitions of the Kafka topic." default:"4"`
}

func (c *demoCmd) Run(ctx context.Context, stdout io.Writer) error {
	broker, err := ingest.StartEmbedded(ingest.EmbeddedConfig{
		Port:    c.KafkaPort,
		DataDir: c.DataDir,
		KafkaTopics: []ingest.TopicSpec{
			{Name: eventsTopic, Partitions: c.Partitions},
			{Name: deadLetterTopic, Partitions: 1},
		},
	})
	if err != nil {
		return err
	}
	defer broker.Close()
	cluster, err := (&kafkaFlags{Brokers: []string{broker.Address()}, KafkaTimeout: 5 * time.Second}).connect(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	sim, err := c.open()
	if err != nil {
		return err
	}
	read := readFlags{KafkaTopic: []string{eventsTopic}, Start: "beginning", DeadLetterTopic: deadLetterTopic}
	s, err := openServer(ctx, cluster, &read, &c.serverFlags)
	if err != nil {
		return err
	}
	s.example = sim.Symbols()[0]
	s.announce(stdout)
	return c.run(ctx, s, cluster, sim)
}

// run ends when one of the two ends.
func (c *demoCmd) run(ctx context.Context, s *server, cluster *ingest.Cluster, sim *feed.Sim) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return runSim(ctx, cluster, eventsTopic, sim) })
	g.Go(func() error {
		if err := s.run(ctx); err != nil {
			return err
		}
		return context.Canceled // the producer has nobody left to produce for
	})
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
