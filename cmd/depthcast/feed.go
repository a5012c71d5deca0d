package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
)

// feedCmd is `depthcast feed`: the producers on their own.
type feedCmd struct {
	Sim    feedSimCmd    `cmd:"" help:"Produce a simulated market, order by order."`
	Replay feedReplayCmd `cmd:"" help:"Produce recordings of real venues."`
}

// targetFlags say where records go.
type targetFlags struct {
	kafkaFlags `embed:""`
	KafkaTopic string `help:"Kafka topic to write to." default:"depthcast.events" placeholder:"NAME"`
	Create     int32  `help:"Create the Kafka topic with so many partitions if it does not exist. 0: it must exist." default:"0" placeholder:"PARTITIONS"`
}

// open connects, and makes sure that the Kafka topic is there.
func (f *targetFlags) open(ctx context.Context) (*ingest.Cluster, error) {
	cluster, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	if f.Create > 0 {
		err = cluster.EnsureTopics(ctx, ingest.TopicSpec{Name: f.KafkaTopic, Partitions: f.Create})
	} else {
		_, err = cluster.Describe(ctx, f.KafkaTopic)
	}
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return cluster, nil
}

// flushWithin bounds waiting for the broker at the end of a feed.
const flushWithin = 5 * time.Second

// produce runs a feed against a producer of its own, and waits at its end, also
// when ctx has ended, until the broker has what was produced.
func produce(ctx context.Context, cluster *ingest.Cluster, kafkaTopic string, run func(context.Context, feed.Producer) error) (err error) {
	producer, err := cluster.NewProducer(ingest.ProducerConfig{KafkaTopic: kafkaTopic})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
		defer cancel()
		err = errors.Join(err, producer.Close(ctx))
	}()
	return run(ctx, producer)
}

// simFlags describe the simulated market.
type simFlags struct {
	Seed          uint64        `help:"Seed of the simulated market: the same makes the same market." default:"1"`
	Rate          int           `help:"Simulated events per second, all instruments together." default:"2000"`
	Symbols       int           `help:"Simulated instruments, 1 to 20, the busiest first." default:"20"`
	SnapshotEvery time.Duration `help:"How often each simulated symbol's whole book is produced." default:"30s"`
}

func (f *simFlags) open() (*feed.Sim, error) {
	if f.Rate < 1 || f.Symbols < 1 {
		return nil, fmt.Errorf("--rate and --symbols must be 1 or more")
	}
	return feed.NewSim(feed.MarketConfig{
		Seed: f.Seed, Rate: f.Rate, Instruments: f.Symbols, SnapshotEvery: f.SnapshotEvery,
	})
}

func runSim(ctx context.Context, cluster *ingest.Cluster, kafkaTopic string, sim *feed.Sim) error {
	return produce(ctx, cluster, kafkaTopic, sim.Run)
}

// feedSimCmd is `depthcast feed sim`.
type feedSimCmd struct {
	targetFlags `embed:""`
	simFlags    `embed:""`
}

func (c *feedSimCmd) Run(ctx context.Context, stdout io.Writer) error {
	sim, err := c.simFlags.open()
	if err != nil {
		return err
	}
	cluster, err := c.targetFlags.open(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Fprintf(stdout, "producing %d simulated instruments (%s, …) into %s; Ctrl-C ends it\n",
		len(sim.Symbols()), sim.Symbols()[0], c.KafkaTopic)
	err = runSim(ctx, cluster, c.KafkaTopic, sim)
	report(sim.Stats())
	return err
}

func report(s *feed.Stats) {
	slog.Info("produced", "records", s.Records.Load(), "events", s.Events.Load(),
		"bytes", s.Bytes.Load(), "heartbeats", s.Heartbeats.Load(), "skipped", s.Skipped.Load(), "refused", s.Refused.Load())
}

// feedReplayCmd is `depthcast feed replay`.
type feedReplayCmd struct {
	targetFlags `embed:""`
	Files       []string `arg:"" help:"Recordings (.gz, .zip or plain); several keep their relative time." type:"existingfile" name:"file"`
	Format      string   `help:"Format of the recordings." enum:"binance,kraken,lobster" required:""`
	Speed       string   `help:"1 for as recorded, another factor, or max." default:"1"`
	As          string   `help:"raw: the venue's own records; proto: converted to depthcast's." enum:"raw,proto" default:"raw"`
	Clone       int      `help:"Produce every instrument so many times, under other names, for load." default:"1"`
}

// speed is the factor of --speed; 0 is as fast as the broker takes it.
func (c *feedReplayCmd) speed() (float64, error) {
	if c.Speed == "max" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(c.Speed, 64)
	if err != nil || f <= 0 || math.IsInf(f, 0) {
		return 0, fmt.Errorf("--speed %q is neither max nor a factor such as 1 or 10", c.Speed)
	}
	return f, nil
}

func (c *feedReplayCmd) Run(ctx context.Context, stdout io.Writer) error {
	speed, err := c.speed()
	if err != nil {
		return err
	}
	if c.Clone < 1 {
		return fmt.Errorf("--clone %d: every instrument is produced once at least", c.Clone)
	}
	replay, err := feed.NewReplay(ctx, feed.ReplayConfig{
		Files: c.Files, Format: c.Format, Speed: speed, Clones: c.Clone, AsProto: c.As == "proto",
	})
	if err != nil {
		return err
	}
	cluster, err := c.targetFlags.open(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	symbols := replay.Symbols()
	fmt.Fprintf(stdout, "replaying %d files, %d instruments (%s, …) into %s; Ctrl-C ends it\n",
		len(c.Files), len(symbols), symbols[0], c.KafkaTopic)
	err = produce(ctx, cluster, c.KafkaTopic, replay.Run)
	report(replay.Stats())
	return err
}
