package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MinDelay and MaxDelay bound Config.Delay.
const (
	MinDelay = time.Second
	MaxDelay = 31 * 24 * time.Hour
)

// ErrRetention: a Kafka topic does not keep its records until they are due.
var ErrRetention = errors.New("ingest: retention is shorter than the delay")

// start is where to begin to read. What is written from now on is, for who is late,
// what becomes due from now on.
func (c *Config) start() Start {
	if c.Start.From == FromEnd && c.Delay > 0 {
		return Start{From: FromTime, Time: c.Now().Add(-c.Delay)}
	}
	return c.Start
}

// lookEvery is how often the ends of logs are looked at. By so much at most a false
// timestamp can make a record early.
func (c *Config) lookEvery() time.Duration {
	if c.Delay == 0 {
		return 0
	}
	return min(time.Second, c.Delay/16)
}

// delay makes a source a late one.
func (in *Ingest) delay(s *KafkaSource) *delayed {
	s.bytes = min(s.bytes, aheadBytes)
	return newDelayed(s, s.TopicID(), in.cfg.Delay, in.cluster.cfg.MaxWait, in.cfg.Now, in.log)
}

// judgeRetention sees whether the Kafka topics keep their records until they are due,
// and whose timestamps they have.
func (in *Ingest) judgeRetention(ctx context.Context) error {
	if in.cfg.Delay == 0 {
		return nil
	}
	for i := range in.cfg.KafkaTopics {
		name := in.cfg.KafkaTopics[i].Name
		configs, err := in.cluster.topicConfigs(ctx, name, cleanupPolicy, retention, compactionLag, timestampType)
		if err != nil {
			in.log.Warn("cannot see whether records are kept until they are due", "kafka_topic", name, "err", err)
			continue
		}
		if kept, by := keptFor(configs); by != "" && kept < in.cfg.Delay {
			return fmt.Errorf("%w: Kafka topic %q keeps records for %v (%s), and --delay is %v: kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config %s=%d",
				ErrRetention, name, kept, by, in.cfg.Delay, in.cluster.cfg.Brokers[0], name, by, 2*in.cfg.Delay.Milliseconds())
		}
		if configs[timestampType] != "LogAppendTime" {
			in.log.Warn("what is in the log already is due by its producers' clocks: with message.timestamp.type=LogAppendTime it would be by the broker's", "kafka_topic", name)
		}
	}
	return nil
}

// keptFor is for how long a Kafka topic keeps every record, and by which configuration;
// "": time does not bound that.
func keptFor(configs map[string]string) (kept time.Duration, by string) {
	const always = 365 * 24 * time.Hour
	if strings.Contains(configs[cleanupPolicy], "delete") {
		if ms, err := strconv.ParseInt(configs[retention], 10, 64); err == nil && ms >= 0 && ms < always.Milliseconds() {
			kept, by = time.Duration(ms)*time.Millisecond, retention
		}
	}
	if strings.Contains(configs[cleanupPolicy], "compact") { // the brokers' default is 0, and what is no number is none
		ms, _ := strconv.ParseInt(configs[compactionLag], 10, 64)
		if lag := time.Duration(min(ms, always.Milliseconds())) * time.Millisecond; lag < always && (by == "" || lag < kept) {
			kept, by = lag, compactionLag
		}
	}
	return kept, by
}
