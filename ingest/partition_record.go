package ingest

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/depthcast/depthcast/proto"
)

// symbol is what a partition knows of a symbol that it has claimed. Guarded by
// the partition's lock.
type symbol struct {
	name      string
	first     int64 // Kafka time of its first record here
	hash      bool  // Kafka's partitioner puts its key here
	mark      *mark // nil: no checkpoints
	owned     bool  // it lives here, as far as is known
	final     bool  // and always will
	raw       bool  // it has records in a raw venue format
	defined   bool  // exponents are those of an instrument event
	exponents proto.Exponents
}

// record decodes, checks and applies one record, or refuses it. Called under the
// lock.
func (p *Partition) record(rec *Record, now time.Time) {
	p.tally.records++
	p.tally.bytes += uint64(len(rec.Value))
	p.tally.lastRecord = rec.Time
	if rec.Offset <= p.marks.until && p.skip(rec) {
		return
	}
	s := p.symbols[string(rec.Key)]
	if p.marks.writing {
		p.marks.touch(s, rec.Key)
	}
	format, unseen := p.admit(rec, s)
	if unseen != nil {
		p.unchain(string(rec.Key))
		p.refused(rec, unseen)
		return
	}
	if p.complete && !formats[format].complete {
		p.incomplete(rec, s)
	}
	b, err := p.codec(format).Decode(rec)
	switch {
	case err != nil:
		p.refused(rec, recordError(err))
	case b == nil:
		p.tally.noBatch++
	default:
		p.batch(rec, s, b, format, now)
	}
}

// admit judges what can be told before decoding, so that records which do not
// belong here cost little and leave no trace in a codec. It returns the name of
// the record's format.
func (p *Partition) admit(rec *Record, s *symbol) (format string, refused *proto.RecordError) {
	if s == nil && proto.ValidSymbol(string(rec.Key)) &&
		!p.directory.mayClaim(string(rec.Key), p, p.hashed(rec.Key), rec.Time) {
		return "", p.wrongPartition(rec)
	}
	if rec.Value == nil {
		return "", refuse(CodeTombstone, "", proto.ReasonBadRecord, "no value")
	}
	format, ok := p.formatOf(rec)
	if !ok {
		return "", refuse(CodeUnknownContentType, "", proto.ReasonBadRecord, "content type %.64q", rec.ContentType)
	}
	return format, nil
}

// formatOf finds the name of a record's format.
func (p *Partition) formatOf(rec *Record) (format string, ok bool) {
	if rec.ContentType == "" {
		return p.topic.Format, true
	}
	return formatOf(rec.ContentType)
}

// incomplete sees to it that a symbol with records in a raw venue format does not
// begin whole, also where its instrument was defined in another format before, or
// its codec makes nothing of the record yet. What rec itself then says stands: a
// snapshot, or a session's start (ITCH), makes the book whole.
func (p *Partition) incomplete(rec *Record, s *symbol) {
	if s != nil && s.raw || !proto.ValidSymbol(string(rec.Key)) {
		return
	}
	if s != nil {
		s.raw = true
	}
	p.books.Refuse(string(rec.Key), rec.Offset, proto.ReasonNoSnapshot) // rec itself is still to come
}

// unchain tells the codecs that the book of a symbol is not whole, for a reason
// that they do not know: it needs a snapshot that they may think superfluous.
func (p *Partition) unchain(name string) {
	for _, c := range p.codecs {
		if c, ok := c.(unchainer); ok {
			c.unchain(name)
		}
	}
}

// hashed reports whether Kafka's partitioner puts key into this partition.
func (p *Partition) hashed(key []byte) bool {
	return p.hasher.Partition(&kgo.Record{Key: key}, p.count) == int(p.id.Partition)
}

// wrongPartition refuses a record of a symbol that lives elsewhere, which does
// not concern the book there, unless the symbol seems to have moved here. Should the symbol ever come to live here, its book
// lacks this record.
func (p *Partition) wrongPartition(rec *Record) *proto.RecordError {
	name := string(rec.Key)
	if s := p.symbols[name]; s != nil && s.owned { // the other's claim came later, and is better
		s.owned = false
		p.stats.Symbols.Add(-1)
	}
	if p.directory.contested(name, p, p.hashed(rec.Key)) {
		p.marks.moved = true
	}
	return refuse(CodeWrongPartition, name, proto.ReasonBadRecord, "the symbol lives in another partition")
}

// codec returns this partition's instance for a format of the table.
func (p *Partition) codec(format string) Codec {
	c := p.codecs[format]
	if c == nil {
		c = formats[format].new(p)
		p.codecs[format] = c
	}
	return c
}

// Exponents implements Instruments, for the codecs of this partition.
func (p *Partition) Exponents(name string) proto.Exponents {
	if s := p.symbols[name]; s != nil && s.defined {
		return s.exponents
	}
	if e, ok := p.cfg.Instruments[name]; ok {
		return e
	}
	return proto.DefaultExponents
}

// batch checks and applies what a codec made of rec.
func (p *Partition) batch(rec *Record, s *symbol, b *proto.Batch, format string, now time.Time) {
	b.Seq, b.KafkaTime, b.Bytes = rec.Offset, rec.Time, len(rec.Value)
	if b.Feed == "" {
		b.Feed = p.id.KafkaTopic // silence is judged for somebody
	}
	s, err := p.check(rec, s, b, format)
	if err == nil && !p.feeds.note(b.Feed, p.lived(rec, now)) {
		err = refuse(CodeTooManyFeeds, b.Symbol, proto.ReasonBadRecord, "feed %.64q is one more than %d", b.Feed, p.cfg.MaxFeeds)
	}
	if err != nil {
		p.unchain(string(rec.Key))
		p.refused(rec, err)
		return
	}
	outcome, failure := p.books.Apply(b)
	if failure == nil && (outcome == proto.Duplicate || outcome == proto.Ignored) {
		p.dropped(outcome)
		return
	}
	if s != nil && s.define(b) { // in a refused batch too: a definition is a statement of its own
		p.unchain(s.name)
	}
	if failure != nil {
		refused := recordError(failure)
		if refused.Reason != proto.ReasonNone {
			p.unchain(b.Symbol)
		}
		p.discard(rec, refused) // the books have drawn their conclusion
		return
	}
	if outcome == proto.Held {
		p.tally.held++
	} else {
		p.tally.applied++
		if b.Quote != nil {
			p.compare(b)
		}
	}
	p.tally.events += uint64(len(b.Events))
}

// compare holds the book of the batch before against what its venue says of its
// best bid and offer, and notes the one of b. A difference is counted and logged:
// it alone proves neither of them wrong.
func (p *Partition) compare(b *proto.Batch) {
	q, x := b.Quote, b.Exponents
	switch {
	case !q.Due:
	case !q.Comparable:
		p.stats.QuotesUncompared.Add(1)
	case q.Before == q.Venue:
		p.stats.QuotesEqual.Add(1)
	default:
		p.stats.QuotesDifferent.Add(1)
		p.warn("best bid and offer were not what the venue says", "symbol", b.Symbol, "before_offset", b.Seq,
			"bid", quoteText(q.Before.Bid, x), "ask", quoteText(q.Before.Ask, x),
			"venue_bid", quoteText(q.Venue.Bid, x), "venue_ask", quoteText(q.Venue.Ask, x))
	}
	q.Book, q.Whole = p.books.Best(b.Symbol)
	q.Book.Bid.Count, q.Book.Ask.Count = 0, 0
}

// quoteText writes a level as QTY@PRICE.
func quoteText(l proto.Level, x proto.Exponents) string {
	text := append(proto.AppendDecimal(nil, l.Qty, x.Qty), '@')
	return string(proto.AppendDecimal(text, l.Price, x.Price))
}

func (p *Partition) dropped(o proto.Outcome) {
	if o == proto.Duplicate {
		p.tally.duplicates++
	} else {
		p.tally.ignored++
	}
}

// define takes the exponents of an instrument event, and reports whether they changed.
func (s *symbol) define(b *proto.Batch) (changed bool) {
	for i := range b.Events {
		if e := &b.Events[i]; e.Kind == proto.EventInstrument && e.Instrument != nil && validExponents(e.Instrument.Exponents) {
			changed = changed || !s.defined || s.exponents != e.Instrument.Exponents
			s.exponents, s.defined = e.Instrument.Exponents, true
		}
	}
	return changed
}

// check finds the symbol of a batch, s if it is known, and sees that it lives
// here; nil for heartbeats of a feed.
func (p *Partition) check(rec *Record, s *symbol, b *proto.Batch, format string) (*symbol, *proto.RecordError) {
	if b.Symbol != string(rec.Key) {
		// Each of the two may lack a change now; refused sees to the key's.
		if proto.ValidSymbol(b.Symbol) && proto.ValidSymbol(string(rec.Key)) {
			p.refuseBook(b.Symbol, rec.Offset, proto.ReasonBadRecord)
		}
		return nil, refuse(CodeKeyMismatch, b.Symbol, proto.ReasonBadRecord, "key %.64q, payload %.64q", rec.Key, b.Symbol)
	}
	if b.Symbol == "" {
		for i := range b.Events {
			if b.Events[i].Kind != proto.EventHeartbeat {
				return nil, refuse(CodeBadSymbol, "", proto.ReasonBadRecord, "events without a symbol")
			}
		}
		return nil, nil
	}
	if s != nil && s.final {
		return s, nil
	}
	if !proto.ValidSymbol(b.Symbol) {
		return nil, refuse(CodeBadSymbol, "", proto.ReasonBadRecord, "symbol %.64q", b.Symbol)
	}
	return p.claim(rec, s, b.Symbol, format)
}

// claimsASymbol is how many symbols a partition may have claimed for each one that
// may live: those that have ended keep their claims, so that they go on living here.
const claimsASymbol = 16

// claim makes a symbol live here, unless another partition has the better claim.
func (p *Partition) claim(rec *Record, s *symbol, name, format string) (*symbol, *proto.RecordError) {
	if s == nil {
		if n := p.cfg.MaxSymbols; p.books.Living() >= n || len(p.symbols) >= claimsASymbol*n {
			return nil, refuse(CodeTooManySymbols, name, proto.ReasonBadRecord, "more than %d symbols, or %d with those that have ended", n, claimsASymbol*n)
		}
		s = &symbol{name: name, first: rec.Time, hash: p.hashed(rec.Key), raw: !formats[format].complete}
	}
	owned, final := p.directory.claim(s.name, p, s.hash, s.first)
	if !owned {
		return nil, p.wrongPartition(rec)
	}
	s.final = final
	if !s.owned {
		s.owned, s.mark = true, p.marks.claim(name)
		p.symbols[name] = s
		p.stats.Symbols.Add(1)
	}
	return s, nil
}
