package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// metrics reads the counters of all packages when Prometheus asks. Labels are
// bounded: partitions, and words of fixed tables.
type metrics struct {
	server *server
}

// scrape is one answer under way.
type scrape struct {
	server *server
	descs  map[string]*prometheus.Desc
	out    chan<- prometheus.Metric
}

// Describe declares nothing, which makes this an unchecked collector: what there
// is depends on the partitions.
func (metrics) Describe(chan<- *prometheus.Desc) {}

// Collect may be called by several goroutines at once.
func (m metrics) Collect(out chan<- prometheus.Metric) {
	c := scrape{server: m.server, descs: map[string]*prometheus.Desc{}, out: out}
	for _, p := range c.server.ingest.Partitions() {
		c.partition(p)
		c.books(p)
		c.checkpoints(p)
	}
	if l := c.server.letters; l != nil {
		c.count("dead_letters_sent_total", "Refused records that the dead-letter Kafka topic has.", float64(l.Sent()))
		c.count("dead_letters_dropped_total", "Refused records that the dead-letter Kafka topic will not get: the queue was full or Kafka away.", float64(l.Dropped()))
	}
	c.gauge("delay_seconds", "How late the books are, on purpose (--delay).", c.server.delay.Seconds())
	c.fanout(c.server.hub.Stats())
	c.authority(c.server.who)
	c.doors(c.server.doors)
}

// doors tells of those who are not connected yet.
func (m scrape) doors(d *doors) {
	m.count("accept_waits_total", "How often accepting waited because too many connections were in their handshake or in plain HTTP.",
		float64(d.lobby.waits.Load()))
	m.count("turned_away_total", "Connections that were told to come back later because too many were in their handshake or in plain HTTP.",
		float64(d.lobby.turned.Load()))
	line, _ := d.lobby.first()
	m.gauge("waiting_connections", "Connections that wait for a place in HTTP.", float64(line))
	m.count("handshakes_unfinished_total", "Connections that ended, or took too long, before a request had come.", float64(d.lobby.unfinished.Load()))
	m.count("address_handshakes_refused_total", "Connections ended at once because as many of their address were in their handshake or in plain HTTP as may be.", float64(d.porch.Counts.Refused()))
	m.count("floods_in_http_total", "Connections in plain HTTP or in their handshake that were ended because they sent too many bytes.", float64(d.porch.Flooding()))
	m.count("proxy_headers_refused_total", "Connections of trusted proxies that were ended because none of the PROXY protocol's headers began them.", float64(d.porch.Refused()))
	m.count("log_lines_left_out_total", "Lines about clients that were not logged because there were too many.", float64(d.log.shared.left.Load()))
	if c := d.certs; c != nil {
		m.count("tls_reloads_total", "Times that the files of TLS were read anew.", float64(c.reloads.Load()))
		m.count("tls_reload_errors_total", "Times that they changed and could not be read: what they held before goes on to hold.", float64(c.errors.Load()))
		m.gauge("tls_certificate_expires_seconds", "When the certificate ends, in seconds since 1970.", float64(c.until().Unix()))
	}
}

// partition tells of reading one partition.
func (m scrape) partition(p *ingest.Partition) {
	s := p.Stats()
	label := []string{"kafka_topic", p.ID().KafkaTopic, "partition", strconv.Itoa(int(p.ID().Partition))}
	count := func(name, help string, v uint64) { m.count("ingest_"+name, help, float64(v), label...) }
	gauge := func(name, help string, v float64) { m.gauge("ingest_"+name, help, v, label...) }
	count("records_total", "Records fetched.", s.Records.Load())
	count("bytes_total", "Bytes of the values of records fetched.", s.Bytes.Load())
	count("events_total", "Events in batches that were applied or held back.", s.Events.Load())
	count("applied_total", "Batches applied.", s.Applied.Load())
	count("held_total", "Batches held back because their event continues.", s.Held.Load())
	count("duplicates_total", "Batches dropped because their source sequence was seen before.", s.Duplicates.Load())
	count("ignored_total", "Batches dropped because they were older than the book.", s.Ignored.Load())
	count("skipped_total", "Records passed over because the checkpoint that the start took has them already.", s.Skipped.Load())
	count("offset_gaps_total", "Jumps in offsets that were not declared normal.", s.OffsetGaps.Load())
	count("truncations_total", "Times that records were gone before they were read, or the log lost its end.", s.Truncations.Load())
	count("recreations_total", "Times that the Kafka topic was deleted and made again.", s.Recreations.Load())
	count("fetch_errors_total", "Fetches that failed.", s.FetchErrors.Load())
	for result, n := range map[string]uint64{"equal": s.QuotesEqual.Load(), "different": s.QuotesDifferent.Load(), "not_compared": s.QuotesUncompared.Load()} {
		m.count("ingest_quotes_total", "Books compared with the best bid and offer that their venue says (Binance's bookTicker), by result.", float64(n), append(label, "result", result)...)
	}
	for code, n := range s.Refused() {
		m.count("ingest_refused_total", "Records refused, by code.", float64(n), append(label, "code", code)...)
	}
	gauge("next_offset", "Offset of the record that comes next.", float64(s.NextOffset.Load()))
	gauge("high_watermark", "One past the last record that can be read.", float64(s.HighWatermark.Load()))
	gauge("lag_records", "Records between the next offset and the high watermark.", float64(s.Lag()))
	gauge("waiting_records", "Records in the log that are not due yet (--delay).", float64(p.Waiting()))
	if first := s.LogStart.Load(); first >= 0 {
		gauge("kept_records", "Offsets that the log holds before the next one: below 0, records were deleted before they were read, or due.", float64(s.NextOffset.Load()-first))
	}
	gauge("undecided_records", "Records from the first open transaction on, which nobody can read yet.", float64(s.Undecided.Load()))
	gauge("catching_up", "1 until the end of the log was reached.", bit(s.CatchingUp.Load()))
	gauge("unreachable", "1 while Kafka does not answer.", bit(s.Unreachable.Load()))
	gauge("behind", "1 while the lag is above the limit.", bit(s.Behind.Load()))
	gauge("silent_feeds", "Feeds that bring nothing.", float64(s.SilentFeeds.Load()))
	gauge("symbols", "Symbols that live in the partition, those that have ended included.", float64(s.Symbols.Load()))
	if at := s.LastFetch.Load(); at > 0 {
		gauge("last_fetch_age_seconds", "Time since the broker last answered.", time.Since(time.Unix(0, at)).Seconds())
	}
}

// books tells of the books of one partition.
func (m scrape) books(p *ingest.Partition) {
	var s book.Stats
	p.Do(func() { s = p.Books().(*partitionBooks).Stats() })
	label := []string{"kafka_topic", p.ID().KafkaTopic, "partition", strconv.Itoa(int(p.ID().Partition))}
	for _, b := range []struct {
		state proto.State
		n     int
	}{{proto.Live, s.Live}, {proto.Recovering, s.Recovering}, {proto.Stale, s.Stale}} {
		m.gauge("books", "Books, by state.", float64(b.n), append(label, "state", proto.StateWord(b.state))...)
	}
	m.gauge("books_ended", "Books whose instrument has ended.", float64(s.Ended), label...)
	m.gauge("book_levels", "Levels in all books.", float64(s.Levels), label...)
	m.gauge("book_orders", "Orders in all books.", float64(s.Orders), label...)
	m.gauge("book_views", "Views open.", float64(s.Views), label...)
	m.gauge("book_held_bytes", "Memory of records held back until their event is complete.", float64(s.HeldBytes), label...)
	m.count("book_off_tick_total", "Levels that came at a price off the instrument's tick, and were accepted.", float64(s.OffTick), label...)
	m.count("book_skipped_events_total", "Level and order events of books that were not whole.", float64(s.Skipped), label...)
}

// fanout tells of connections and deliveries.
func (m scrape) fanout(s fanout.Stats) {
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"connections_accepted_total", "Connections taken by a shard.", s.Accepted},
		{"handshakes_refused_total", "Handshakes answered by an HTTP error.", s.HandshakesRefused},
		{"handshakes_failed_total", "Handshakes broken off.", s.HandshakesFailed},
		{"snapshots_refused_total", "Topics and resyncs refused because their connection has asked for too many bytes of snapshots.", s.SnapshotsRefused},
		{"user_requests_refused_total", "Requests refused because all connections of their user, or address, have together asked for too much.", s.SharesRefused},
		{"address_connections_refused_total", "Connections refused for want of room for their address.", s.AddressConnsRefused},
		{"address_relays_refused_total", "Event streams and polls refused for want of a relay for their address.", s.AddressRelaysRefused},
		{"address_requests_refused_total", "Requests over HTTP refused because their address asks too often.", s.AddressRequestsRefused},
		{"whole_reads_refused_total", "Questions over plain HTTP for whole books or long lists that were refused because there were too many.", s.WholeReadsRefused},
		{"relays_refused_total", "Event streams and polls refused for want of a relay.", s.RelaysRefused},
		{"frames_total", "Data frames handed to the kernel.", s.Frames},
		{"bytes_total", "Bytes handed to the kernel; of TLS, plaintext.", s.Bytes},
		{"sends_total", "System calls that send.", s.Sends},
		{"send_again_total", "Sending system calls that met a full socket.", s.Again},
		{"encoded_total", "Frames made.", s.Encoded},
		{"merged_total", "Net deltas made.", s.Merged},
		{"deflated_total", "Frames compressed, each once for all who are sent it; those for one client alone are not counted.", s.Deflated},
		{"deflate_in_bytes_total", "Bytes of the frames that were compressed once for all.", s.DeflateIn},
		{"deflate_out_bytes_total", "Bytes that these became.", s.DeflateOut},
		{"snapshots_total", "Snapshots sent.", s.Snapshots},
		{"snapshots_made_total", "Snapshots encoded: each version once for all who are sent it in one form and for one reason.", s.SnapshotsMade},
		{"laps_total", "Cursors that the ring went past.", s.Laps},
		{"requests_total", "Messages from clients.", s.Requests},
		{"items_total", "Items of requests that were heard; a pattern counts as fifty.", s.Items},
		{"mismatches_total", "State hashes that a client found different.", s.Mismatches},
		{"resyncs_total", "Snapshots asked for and granted.", s.Resyncs},
		{"resumed_total", "Subscriptions that went on without a snapshot.", s.Resumed},
		{"subscribed_total", "Subscriptions begun.", s.Subscribed},
	} {
		m.count("fanout_"+c.name, c.help, float64(c.n))
	}
	delete(s.Drops, fanout.DropNone)
	for reason, n := range s.Drops {
		m.count("fanout_drops_total", "Connections ended, by reason.", float64(n), "reason", reason.String())
	}
	delete(s.Errors, pb.ErrorCode_ERROR_CODE_UNSPECIFIED)
	for code, n := range s.Errors {
		m.count("fanout_errors_total", "Error frames, by code.", float64(n), "code", proto.ErrorCodeWord(code))
	}
	for dialect, n := range map[string]uint64{"kraken": s.Kraken, "binance": s.Binance} {
		m.count("fanout_dialect_connections_total", "Connections taken that speak an exchange's protocol.", float64(n), "dialect", dialect)
	}
	m.count("fanout_dialect_voids_total", "Frames made that show a dialect's clients nothing of a book that is not live.", float64(s.Voids))
	m.gauge("fanout_dialect_left_out", "Symbols without a name in the exchange dialects, as others would have the same.", float64(s.LeftOut))
	m.gauge("fanout_connections", "Connections.", float64(s.Conns))
	m.gauge("fanout_deflating_connections", "Connections that agreed on compression.", float64(s.Deflating))
	m.gauge("fanout_addresses", "Addresses with connections, those that are not bounded aside.", float64(s.Addresses))
	m.gauge("fanout_users", "Users of whom a token is in use.", float64(s.Users))
	m.gauge("fanout_subscriptions", "Subscriptions.", float64(s.Subscriptions))
	m.gauge("fanout_relays", "Event streams over HTTP/2 and polls under way; they are connections, too.", float64(s.Relays))
	m.gauge("fanout_topics", "Topics open, lingering ones included.", float64(s.Topics))
	m.gauge("fanout_ring_bytes", "Bytes of all rings.", float64(s.RingBytes))
	m.gauge("fanout_pinned_bytes", "Bytes of frames half sent.", float64(s.PinnedBytes))
	for i, n := range s.ShardConns {
		m.gauge("fanout_shard_connections", "Connections, by shard.", float64(n), "shard", strconv.Itoa(i))
	}
}

func (m scrape) count(name, help string, v float64, labels ...string) {
	m.tell(prometheus.CounterValue, name, help, v, labels)
}

func (m scrape) gauge(name, help string, v float64, labels ...string) {
	m.tell(prometheus.GaugeValue, name, help, v, labels)
}

// tell sends one metric; labels are pairs of name and value.
func (m scrape) tell(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	d := m.descs[name]
	if d == nil {
		var names []string
		for i := 0; i < len(labels); i += 2 {
			names = append(names, labels[i])
		}
		d = prometheus.NewDesc("depthcast_"+name, help, names, nil)
		m.descs[name] = d
	}
	values := make([]string, 0, len(labels)/2)
	for i := 1; i < len(labels); i += 2 {
		values = append(values, labels[i])
	}
	m.out <- prometheus.MustNewConstMetric(d, kind, v, values...)
}

func bit(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
