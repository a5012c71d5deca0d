package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"go.yaml.in/yaml/v3"
)

// serveCmd is `depthcast serve`.
type serveCmd struct {
	kafkaFlags  `embed:""`
	readFlags   `embed:""`
	serverFlags `embed:""`
}

// readFlags say what to read from Kafka and how to judge it.
type readFlags struct {
	KafkaTopic      []string          `help:"Kafka topics to read, each whole." default:"depthcast.events" placeholder:"NAME"`
	Format          map[string]string `help:"Format of records without a content-type header, by Kafka topic: those of docs/codecs.md, such as proto, json or kraken. Default: proto." placeholder:"TOPIC=FORMAT"`
	Complete        []string          `help:"Kafka topics that tell everything from offset 0 on, so that a symbol begins with an empty, whole book." placeholder:"TOPIC"`
	Compacted       []string          `help:"Kafka topics in which missing offsets are normal because they are compacted." placeholder:"TOPIC"`
	Start           string            `help:"Where to begin to read: beginning, end, or a time such as 2026-01-31T09:30:00Z." default:"beginning"`
	Instruments     string            `help:"YAML file with the exponents of symbols whose raw venue format has none (\"BINANCE:BTCUSDT\": {price: -2, qty: -8})." type:"existingfile" placeholder:"FILE"`
	DeadLetterTopic string            `help:"Kafka topic that refused records are copied to, created if need be; empty: none." default:"depthcast.deadletter" placeholder:"NAME"`

	Checkpoints        string        `help:"What to do with checkpoints, which spare a start reading the whole log: write them and start from them, read them only, or off. Of several servers that write those of one partition the last to start goes on." enum:"write,read,off" default:"write"`
	CheckpointTopic    string        `help:"Compacted Kafka topic that checkpoints are kept in, created if need be." default:"depthcast.checkpoints" placeholder:"NAME"`
	CheckpointRecords  int64         `help:"Records of a partition after which its next checkpoint is written." default:"1000000"`
	CheckpointInterval time.Duration `help:"Time after which a partition's next checkpoint is written, if records were read." default:"30s"`
	CheckpointChunk    int           `help:"Most bytes of one Kafka record of a checkpoint; below what the broker takes (message.max.bytes)." default:"524288"`

	Delay      time.Duration `help:"How late books are served, for who may not have them sooner: each record so long after it came into the log. At least 1s, at most 744h. 0: at once." default:"0s"`
	MaxLag     int64         `help:"Records that a partition may be behind the end of its log before its books are stale (behind)." default:"10000"`
	MaxSilence time.Duration `help:"How long a feed may bring neither records nor heartbeats before its books are stale (source_silent)." default:"10s"`
	MaxOutage  time.Duration `help:"How long Kafka may leave a partition without an answer before its books are stale (kafka_unreachable)." default:"3s"`

	now func() time.Time // nil: time.Now; a test's clock
}

func (c *serveCmd) Run(ctx context.Context, stdout io.Writer) error {
	cluster, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	for {
		s, err := openServer(ctx, cluster, &c.readFlags, &c.serverFlags)
		if err != nil {
			return err
		}
		s.announce(stdout)
		if err = s.run(ctx); !errors.Is(err, ingest.ErrPartitionAdded) {
			return err
		}
		// Clients were told to come again, and then find each symbol where it lives.
		slog.Warn("starting anew, to read a partition that was added", "err", err)
	}
}

// server is a running depthcast: ingest → book → fanout, and its two listeners.
type server struct {
	ingest  *ingest.Ingest
	letters *ingest.DeadLetters // nil: none
	hub     *fanout.Hub
	doors   *doors
	drain   time.Duration // over which the ends of connections are spread
	delay   time.Duration // of the books, on purpose
	who     authority
	example string // a symbol to show in the announcement
}

// openServer opens everything that may fail: what does not answer or does not
// exist is an error within seconds.
func openServer(ctx context.Context, cluster *ingest.Cluster, read *readFlags, serve *serverFlags) (_ *server, err error) {
	s := &server{example: "SYMBOL", drain: serve.Drain, delay: read.Delay}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	cfg, err := read.config()
	if err != nil {
		return nil, err
	}
	if read.DeadLetterTopic != "" {
		if s.letters, err = openLetters(ctx, cluster, read.DeadLetterTopic); err != nil {
			return nil, fmt.Errorf("the Kafka topic for dead letters (--dead-letter-topic, empty for none): %w", err)
		}
		cfg.DeadLetters = s.letters
	}
	if s.ingest, err = ingest.Open(ctx, cluster, cfg, newBooks); err != nil {
		return nil, err
	}
	if err := serve.validate(); err != nil {
		return nil, err
	}
	reserveProcessors(serve.Shards)
	fatal := make(chan error, 1)
	if s.who, err = serve.authority(read.Delay, func() { s.hub.Reconsider() }); err != nil {
		return nil, err
	}
	hub := serve.hub(books{s.ingest}, fatal)
	hub.Delay = read.Delay
	s.who.guard(&hub)
	log := newSparing(slog.Default().Handler(), serve.LogRate)
	hub.Log = slog.New(log)
	if s.hub, err = fanout.New(hub); err != nil {
		return nil, err
	}
	s.doors, err = openDoors(s, serve, log, fatal)
	return s, err
}

// openLetters makes sure that the Kafka topic for dead letters is there: it is
// depthcast's own, so it is created where it is missing.
func openLetters(ctx context.Context, cluster *ingest.Cluster, kafkaTopic string) (*ingest.DeadLetters, error) {
	_, err := cluster.Describe(ctx, kafkaTopic)
	if errors.Is(err, ingest.ErrNoTopic) {
		err = cluster.EnsureTopics(ctx, ingest.TopicSpec{Name: kafkaTopic, Partitions: 1})
	}
	if err != nil {
		return nil, err
	}
	return cluster.NewDeadLetters(kafkaTopic)
}

// config is what the flags say of reading.
func (f *readFlags) config() (ingest.Config, error) {
	c := ingest.Config{
		Delay:            f.Delay,
		Now:              f.now,
		MaxLag:           f.MaxLag,
		SilentAfter:      f.MaxSilence,
		UnreachableAfter: f.MaxOutage,
		Log:              slog.Default(),
		MaxSymbols:       maxSymbols,
		Checkpoints: ingest.CheckpointConfig{
			Mode:       ingest.CheckpointMode(f.Checkpoints),
			KafkaTopic: f.CheckpointTopic,
			Records:    f.CheckpointRecords,
			Interval:   f.CheckpointInterval,
			ChunkBytes: f.CheckpointChunk,
		},
	}
	topics := map[string]*ingest.TopicConfig{}
	c.KafkaTopics = make([]ingest.TopicConfig, len(f.KafkaTopic))
	for i, name := range f.KafkaTopic {
		c.KafkaTopics[i] = ingest.TopicConfig{Name: name, Format: f.Format[name]}
		topics[name] = &c.KafkaTopics[i]
	}
	for _, d := range []struct {
		flag  string
		names []string
		set   func(*ingest.TopicConfig)
	}{
		{"--complete", f.Complete, func(t *ingest.TopicConfig) { t.Complete = true }},
		{"--compacted", f.Compacted, func(t *ingest.TopicConfig) { t.Compacted = true }},
	} {
		for _, name := range d.names {
			if topics[name] == nil {
				return c, fmt.Errorf("%s %s: no such --kafka-topic", d.flag, name)
			}
			d.set(topics[name])
		}
	}
	for name := range f.Format {
		if topics[name] == nil {
			return c, fmt.Errorf("--format %s: no such --kafka-topic", name)
		}
	}
	var err error
	if c.Start, err = startOf(f.Start); err != nil {
		return c, err
	}
	c.Instruments, err = instrumentsIn(f.Instruments)
	return c, err
}

func startOf(text string) (ingest.Start, error) {
	switch text {
	case "beginning":
		return ingest.Start{From: ingest.FromBeginning}, nil
	case "end":
		return ingest.Start{From: ingest.FromEnd}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return ingest.Start{}, fmt.Errorf("--start %q is neither beginning, end, nor a time such as 2026-01-31T09:30:00Z", text)
	}
	return ingest.Start{From: ingest.FromTime, Time: t}, nil
}

// instrumentsIn reads an instruments file; "" is an empty one.
func instrumentsIn(path string) (map[string]proto.Exponents, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file map[string]struct {
		Price *int8 `yaml:"price"`
		Qty   *int8 `yaml:"qty"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("--instruments %s: %w", path, err)
	}
	all := make(map[string]proto.Exponents, len(file))
	for symbol, e := range file {
		if e.Price == nil || e.Qty == nil {
			return nil, fmt.Errorf("--instruments %s: %s needs price and qty", path, symbol)
		}
		all[symbol] = proto.Exponents{Price: *e.Price, Qty: *e.Qty}
	}
	return all, nil
}

// run serves until ctx ends, then says goodbye.
func (s *server) run(ctx context.Context) error {
	// Reading goes on while clients are said goodbye to.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	reading, read, settled := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() { reading <- s.ingest.Run(inner); close(read) }()
	go func() { s.who.run(inner); close(settled) }()
	go s.doors.certs.run(inner)
	go releaseMemory(inner, func() uint64 { return arrivals(s.hub) })
	err := s.doors.serve(ctx, reading)
	window := s.drain
	if err != nil {
		window = 0 // there is nothing to serve meanwhile
	}
	err = errors.Join(err, s.stop(window))
	cancel()
	s.closeLetters()
	<-settled // usage is written
	<-read    // the last checkpoints are written, or given up
	return err
}

// stopWithin bounds saying goodbye to clients, after the time over which their ends
// are spread, and likewise handing dead letters over.
const stopWithin = 1500 * time.Millisecond

// stop spreads the ends of connections over window.
func (s *server) stop(window time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), window+stopWithin)
	defer cancel()
	s.doors.shut()
	defer s.doors.close() // event streams that are relayed are told of the end, too
	// Clients that do not read their goodbye in time are cut off: no error of ours.
	if err := s.hub.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (s *server) closeLetters() {
	if s.letters == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := s.letters.Close(ctx); err != nil {
		slog.Warn("dead letters may be lost", "err", err)
	}
}

// close undoes openServer where it failed half-way.
func (s *server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if s.hub != nil {
		_ = s.hub.Shutdown(ctx) // the error that counts is the one that led here
	}
	if s.ingest != nil {
		ended, end := context.WithCancel(ctx)
		end()
		_ = s.ingest.Run(ended) // closes its sources
	}
	s.closeLetters()
}
