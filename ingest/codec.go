package ingest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// Codec turns Kafka records of one format into batches. Each partition has an
// instance of its own for each epoch, called by one goroutine in the order of
// the log. What it returns is a pure function of the records that it was given
// and of Instruments: no clock, no randomness.
type Codec interface {
	// Decode returns what rec says, or nil when it changes nothing yet (it was
	// buffered until a snapshot, is covered by one, or concerns no book).
	//
	// A record's key is its symbol, and it makes one batch at most: clients tell
	// changes apart by seq, which is the record's offset. So a snapshot and the
	// buffered changes that follow it are events of one batch, in order. The
	// batch and all it refers to are valid until the next call; the codec may
	// use them again, and the slices of rec with them. The partition fills in
	// Seq, KafkaTime and Bytes, and checks Symbol; everything else is the
	// codec's.
	//
	// An error is a *proto.RecordError, made by refuse. It takes effect for the
	// symbol of the record's key unless it names another.
	Decode(rec *Record) (*proto.Batch, error)
}

// unchainer is a Codec that passes over snapshots of what its books should hold
// already.
type unchainer interface {
	// unchain says that the symbol's book does not hold what the codec gave out.
	unchain(symbol string)
}

// keeper is a Codec that keeps state of a symbol between records. All state of a
// codec that decides what it returns must be a symbol's.
type keeper interface {
	// save appends the state of a symbol in a form of the codec's own, with its
	// version first: nothing if there is none. It takes about as long as copying
	// the state does.
	save(symbol string, to []byte) []byte
	// restore puts back what save appended, for a symbol without state. What save
	// would not have appended is refused, and the symbol left without state.
	restore(symbol string, state []byte) error
	// forget leaves a symbol without state.
	forget(symbol string)
}

// Instruments tells codecs of formats without exponents what a symbol's are: as
// the last instrument event in this partition says, else as configured, else
// proto.DefaultExponents.
type Instruments interface {
	Exponents(symbol string) proto.Exponents
}

// format is a row of the table of codecs.
type format struct {
	contentType string // value of a record's header "content-type"
	complete    bool   // its records can tell a book from nothing on, see TopicConfig.Complete
	new         func(Instruments) Codec
}

// formats is the table of codecs by name, as flags have it. A codec is one file
// and one row.
var formats = map[string]format{
	"binance":  {contentType: "application/vnd.binance+json", new: newBinanceCodec},
	"coinbase": {contentType: "application/vnd.coinbase+json", new: newCoinbaseCodec},
	"itch":     {contentType: "application/vnd.nasdaq.itch50", new: newITCHCodec},
	"json":     {contentType: "application/vnd.depthcast+json", complete: true, new: newJSONCodec},
	"kraken":   {contentType: "application/vnd.kraken+json", new: newKrakenCodec},
	"lobster":  {contentType: "text/vnd.lobster", new: newLobsterCodec},
	"okx":      {contentType: "application/vnd.okx+json", new: newOKXCodec},
	"proto":    {contentType: "application/vnd.depthcast+protobuf", complete: true, new: newProtoCodec},
}

// DefaultFormat is that of a Kafka topic for which none is named.
const DefaultFormat = "proto"

// Formats are the names of all formats, in order.
func Formats() []string { return slices.Sorted(maps.Keys(formats)) }

// ContentType is the value of the content-type header of a format's records; ""
// if there is no such format.
func ContentType(format string) string { return formats[format].contentType }

// formatOrder are the names of the formats, rising.
var formatOrder = Formats()

// formatOf finds the name of the format that a content-type header names.
func formatOf(contentType string) (string, bool) {
	name, ok := formatNames[contentType]
	return name, ok
}

// formatNames are the names of the formats by content type.
var formatNames = func() map[string]string {
	names := make(map[string]string, len(formats))
	for name, f := range formats {
		names[f.contentType] = name
	}
	return names
}()

// Codes of records that a codec or the partition refuses: metric label, log and
// dead letter have them. Codecs and books have codes of their own beside these.
const (
	CodeUnknownContentType = "unknown_content_type"
	CodeMalformed          = "malformed"        // the value is not of its format
	CodeBadValue           = "bad_value"        // a field holds what its definition forbids
	CodeTooLarge           = "too_large"        // more events, levels or bytes than are admitted
	CodeTombstone          = "tombstone"        // no value at all
	CodeBadSymbol          = "bad_symbol"       // not 1 to 64 bytes of UTF-8 without spaces and control characters
	CodeKeyMismatch        = "key_mismatch"     // key and payload name different symbols
	CodeWrongPartition     = "wrong_partition"  // the symbol lives in another partition
	CodeTooManySymbols     = "too_many_symbols" // Config.MaxSymbols reached
	CodeTooManyFeeds       = "too_many_feeds"   // Config.MaxFeeds reached
	CodeSourceGap          = "source_gap"       // the venue's own numbers do not chain
	CodeCorruptBatch       = "corrupt_batch"    // the broker's bytes cannot be decoded
)

// refuse makes the error of a record. symbol "" stands for that of the record's
// key; reason is that of the recovering state which the book enters.
func refuse(code, symbol string, reason proto.Reason, text string, args ...any) *proto.RecordError {
	return &proto.RecordError{Code: code, Symbol: symbol, Reason: reason, Err: fmt.Errorf(text, args...)}
}
