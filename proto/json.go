package proto

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/proto/pb"
)

// The JSON codec mirrors the messages of stream.proto. One message is one flat
// object: "type" is the name of the body's field in Request or Frame ("subscribe",
// "delta"), "id" of a request stands beside it, and all other members are the
// fields of the body under the names of the .proto file.
//
//   - Prices and quantities are strings: canonical decimals (AppendDecimal) under
//     the exponents of their topic; in a snapshot or an instrument, under its own.
//   - Levels are an array of ["price","qty"], with order counts
//     ["price","qty",count]; a level that is gone has the quantity "0".
//   - Orders with ranks are an array of ["order_id","price","qty","rank_seq",rank_index];
//     an order that is gone has the quantity "0".
//   - Other 64-bit integers (seq, times, ordinals, identifiers) are decimal strings,
//     32-bit integers numbers. An epoch is a string of 16 hexadecimal digits, a hash
//     one of 8, in lower case. Bytes are base64 (standard, padded).
//   - Enum values are their words: "live", "catching_up", "unknown_symbol".
//   - Times are the object "ts" of strings "venue_first" (where it differs from
//     "venue"), "venue", "kafka" and "published"; what is not known is left out.
//
// Left out are: false, "", enum values that are not set, empty lists and zero
// numbers, except the members of alwaysWritten. Whether a member with presence
// ("optional" in the .proto file) is written depends on its presence alone.
//
// Decoding takes members in any order and ignores unknown ones and those that are
// null. Refused are: what is not strict JSON in UTF-8, a member that comes twice,
// an object of more than maxJSONMembers members, a wrong type, and a number out of
// range. A 64-bit integer may also come as a number. In frames a word that is not
// known counts as not set (a newer server); in requests it is an error.

// ErrJSON comes wrapped with what is wrong where.
var ErrJSON = errors.New("bad JSON message")

// alwaysWritten are the fields that JSON never leaves out, by name or, where only
// one message means it so, by message and name.
var alwaysWritten = setOf(
	"id", "item", "topic", "depth", "interval_ms", "price_exponent", "qty_exponent", "epoch", "seq", "prev_seq",
	"hash", "bids", "asks", "trades", "price", "qty", "listings", "candles", "start", "open", "high", "low", "close", "volume",
	"symbol_age_ms", "feed_age_ms", "deadline_ms", "reconnect_after_ms", "PublicTrade.ordinal", "Limits.max_subscriptions",
	"Limits.max_items", "Limits.max_message_bytes", "Limits.max_requests_per_s",
)

// leftOut are exceptions to alwaysWritten: there the zero means that it is not set.
var leftOut = setOf("Request.id", "Error.topic", "SubscribeItem.interval_ms")

var qtyFields = setOf("qty", "last_qty", "bid_qty", "ask_qty", "indicative_qty", "volume", "open_interest", "lot")

func setOf(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}

// jsonForm is how the value of a field is written.
type jsonForm uint8

const (
	formPlain  jsonForm = iota // by the kind of the field
	formPrice                  // decimal
	formQty                    // decimal
	formLevels                 // Levels
	formOrders                 // RankedOrders
)

type jsonField struct {
	fd     protoreflect.FieldDescriptor
	name   string
	form   jsonForm
	always bool
	words  *enumWords // of an enum
}

// jsonMessage holds the fields of a message by number and by name.
type jsonMessage struct {
	fields    []jsonField
	byName    map[string]*jsonField
	exponents bool // it has its own exponents
}

// jsonMessages has every message that a request or a frame can hold.
var jsonMessages = map[protoreflect.FullName]*jsonMessage{}

// requestBodies and frameBodies are the fields of the bodies, by type.
var (
	requestBodies = (&pb.Request{}).ProtoReflect().Descriptor().Fields()
	frameBodies   = (&pb.Frame{}).ProtoReflect().Descriptor().Fields()
)

func init() {
	addJSONMessage((&pb.Request{}).ProtoReflect().Descriptor())
	addJSONMessage((&pb.Frame{}).ProtoReflect().Descriptor())
}

func addJSONMessage(d protoreflect.MessageDescriptor) {
	if jsonMessages[d.FullName()] != nil {
		return
	}
	m := &jsonMessage{fields: make([]jsonField, d.Fields().Len()), byName: map[string]*jsonField{}}
	jsonMessages[d.FullName()] = m
	m.exponents = d.Fields().ByName("price_exponent") != nil
	for i := range m.fields {
		fd := d.Fields().Get(i)
		name := string(fd.Name())
		qualified := string(d.Name()) + "." + name
		f := &m.fields[i]
		*f = jsonField{fd: fd, name: name, form: formOf(fd), always: alwaysWritten[name] || alwaysWritten[qualified]}
		f.always = f.always && !leftOut[qualified] && !fd.HasPresence() || f.form >= formLevels && alwaysWritten[name]
		if fd.Enum() != nil {
			f.words = wordsByEnum[fd.Enum().FullName()]
		}
		m.byName[name] = f
		if fd.Message() != nil {
			addJSONMessage(fd.Message())
		}
	}
}

func formOf(fd protoreflect.FieldDescriptor) jsonForm {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		switch fd.Message().Name() {
		case "Levels":
			return formLevels
		case "RankedOrders":
			return formOrders
		}
	case protoreflect.Sint64Kind:
		return formPrice
	case protoreflect.Int64Kind:
		if qtyFields[string(fd.Name())] {
			return formQty
		}
		if fd.Name() == "tick" {
			return formPrice
		}
	}
	return formPlain
}

// bodyOf returns the field of a type's body, nil if there is none.
func bodyOf(fields protoreflect.FieldDescriptors, kind string) protoreflect.FieldDescriptor {
	fd := fields.ByName(protoreflect.Name(kind))
	if fd == nil || fd.ContainingOneof() == nil {
		return nil
	}
	return fd
}
