package fanout

import (
	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto/pb"
)

// DropReason is why the server ended a connection, or how it learnt of its end.
type DropReason uint8

const (
	DropNone            DropReason = iota // not dropped
	DropClientClosed                      // the client sent a close frame
	DropClientGone                        // the connection ended without one
	DropStalled                           // the socket took nothing for Config.StallTimeout
	DropLapped                            // policy drop, and the ring went past the cursor
	DropLappedOften                       // lapped more than Config.MaxLaps times
	DropPinnedBytes                       // stalled longest when Config.PinnedBytes was exceeded
	DropControlOverflow                   // asked faster than it read: Config.ControlBytes
	DropSilent                            // no sign of life for Config.SilenceTimeout
	DropUnauthenticated                   // no valid token within Config.AuthTimeout, or too many that were none
	DropTokenEnded                        // its token has ended, or was taken back
	DropUserFull                          // as many connections of its user as its token grants
	DropProtocol                          // broke RFC 6455 or 7692 (unmasked, bad opcode, bad close, bad compression, …)
	DropBadText                           // text that is not UTF-8
	DropTooBig                            // a message over Config.MaxMessageBytes
	DropWrongType                         // a text message on the protobuf protocol, or the reverse
	DropNoTopic                           // an event stream without a topic, or an address of a dialect with a stream that cannot be had now
	DropVoid                              // a dialect's client follows changes alone, and its book is not live any more
	DropFlooding                          // sent more than Config.MessagesInPerSecond or BytesInPerSecond
	DropShutdown                          // the server stops
	DropInternal                          // the server's fault
	dropReasons                           // how many there are
)

// Drop is a row of the table of drop reasons.
type Drop struct {
	Reason DropReason
	Label  string        // the metric label, and the beginning of the close frame's text
	Code   ws.StatusCode // of the close frame; 0: none is sent
	Text   string        // for people
	Retry  pb.Retry      // what a client should do about it
}

// drops is indexed by reason. Codes below 4000 are those of RFC 6455 section 7.4.
var drops = [dropReasons]Drop{
	{DropNone, "none", 0, "not dropped", pb.Retry_RETRY_NOW},
	{DropClientClosed, "client_closed", ws.StatusNormalClosure, "the client closed the connection", pb.Retry_RETRY_NOW},
	{DropClientGone, "client_gone", 0, "the connection ended without a close frame", pb.Retry_RETRY_NOW},
	{DropStalled, "stalled", 4000, "the client did not read for too long", pb.Retry_RETRY_AFTER},
	{DropLapped, "lapped", 4001, "the client fell behind by more than the ring holds, and asked to be dropped then", pb.Retry_RETRY_NOW},
	{DropLappedOften, "lapped_often", 4002, "the client fell behind by more than the ring holds, again and again", pb.Retry_RETRY_AFTER},
	{DropPinnedBytes, "pinned_bytes", 4003, "the server ran short of memory for stalled clients, and this one was stalled longest", pb.Retry_RETRY_AFTER},
	{DropControlOverflow, "control_overflow", 4004, "the client asked faster than it read the answers", pb.Retry_RETRY_AFTER},
	{DropSilent, "silent", 4005, "no sign of life from the client", pb.Retry_RETRY_NOW},
	{DropUnauthenticated, "unauthenticated", 4006, "no valid token came in time", pb.Retry_RETRY_NEVER},
	{DropTokenEnded, "token_ended", 4007, "the token has ended, or was taken back", pb.Retry_RETRY_NOW},
	{DropUserFull, "too_many_connections", 4008, "as many connections as the token grants", pb.Retry_RETRY_AFTER},
	{DropProtocol, "protocol_error", ws.StatusProtocolError, "not WebSocket as RFC 6455 and RFC 7692 have it", pb.Retry_RETRY_NEVER},
	{DropBadText, "bad_text", ws.StatusInvalidFramePayloadData, "text that is not UTF-8", pb.Retry_RETRY_NEVER},
	{DropTooBig, "too_big", ws.StatusMessageTooBig, "message over the limit", pb.Retry_RETRY_NEVER},
	{DropWrongType, "wrong_type", ws.StatusUnsupportedData, "text on the protobuf protocol, or binary on the JSON protocol", pb.Retry_RETRY_NEVER},
	{DropNoTopic, "no_topic", 4009, "what an address asks for cannot be had for now, or was not granted, or all of it has ended", pb.Retry_RETRY_AFTER},
	{DropVoid, "book_void", 4010, "a book that was followed by its changes alone is not whole or not current any more", pb.Retry_RETRY_AFTER},
	{DropFlooding, "flooding", 4011, "the client sent more than it may in so short a time", pb.Retry_RETRY_AFTER},
	{DropShutdown, "shutdown", ws.StatusGoingAway, "the server stops", pb.Retry_RETRY_AFTER},
	{DropInternal, "internal", ws.StatusInternalServerError, "a fault of the server", pb.Retry_RETRY_AFTER},
}

// Drops returns the table, for metrics and documents.
func Drops() []Drop { return append([]Drop(nil), drops[:]...) }

func (r DropReason) String() string {
	if r >= dropReasons {
		return "invalid"
	}
	return drops[r].Label
}

// ErrorRow is a row of the table of error codes.
type ErrorRow struct {
	Code         pb.ErrorCode
	Text         string // for people, where nothing better is known
	Retry        pb.Retry
	RetryAfterMS uint32
}

// errorRows is indexed by error code.
var errorRows = [numErrorCodes]ErrorRow{
	{pb.ErrorCode_ERROR_CODE_UNSPECIFIED, "never sent", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_BAD_REQUEST, "the message is not of this protocol's form", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, "the server does not know this request", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, "no such symbol", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_NOT_READY, "the server has not caught up and cannot know the symbol yet", pb.Retry_RETRY_AFTER, 1000},
	{pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL, "the symbol has no such channel here", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, "this connection has no such topic", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED, "this connection has this topic already", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS, "more subscriptions than hello.limits.max_subscriptions", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS, "more items than hello.limits.max_items", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_RATE_LIMITED, "too many requests in too short a time", pb.Retry_RETRY_AFTER, 1000},
	{pb.ErrorCode_ERROR_CODE_BAD_VIEW, "the view cannot be made", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED, "a valid token is needed first", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_FORBIDDEN, "the token does not grant this", pb.Retry_RETRY_NEVER, 0},
	{pb.ErrorCode_ERROR_CODE_DRAINING, "the server stops", pb.Retry_RETRY_AFTER, 1000},
	{pb.ErrorCode_ERROR_CODE_OVERLOADED, "the server cannot do it now", pb.Retry_RETRY_AFTER, 5000},
	{pb.ErrorCode_ERROR_CODE_INTERNAL, "a fault of the server", pb.Retry_RETRY_AFTER, 1000},
	{pb.ErrorCode_ERROR_CODE_REVOKED, "the token does not grant the topic any more: it has ended", pb.Retry_RETRY_NEVER, 0},
}

// ErrorRows returns the table, for documents.
func ErrorRows() []ErrorRow { return append([]ErrorRow(nil), errorRows[:]...) }
