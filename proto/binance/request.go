package binance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Methods of requests.
const (
	Subscribe         = "SUBSCRIBE"
	Unsubscribe       = "UNSUBSCRIBE"
	ListSubscriptions = "LIST_SUBSCRIPTIONS"
	SetProperty       = "SET_PROPERTY"
	GetProperty       = "GET_PROPERTY"
)

// Request is one message of a client.
type Request struct {
	Method string
	ID     []byte // JSON as it came: an integer, a string or null

	Streams  []string // of Subscribe and Unsubscribe
	Combined bool     // of SetProperty
}

// RequestError refuses a request as Binance does.
type RequestError struct {
	Code int
	Text string
}

func (e *RequestError) Error() string { return e.Text }

var null = []byte("null")

// Decode reads a message, whose size the connection has bounded. The request has
// the ID also where there is an error, which is always a *RequestError.
func Decode(msg []byte) (*Request, error) {
	r := &Request{ID: null}
	var body struct {
		Method *string           `json:"method"`
		Params []json.RawMessage `json:"params"`
		ID     json.RawMessage   `json:"id"`
	}
	err := json.Unmarshal(msg, &body)
	var kind *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &kind) {
		return r, &RequestError{3, "Invalid JSON: " + err.Error()}
	}
	if len(body.ID) > 0 {
		if !validID(body.ID) {
			return r, invalid("request ID must be an integer, a string of at most 36 letters and digits, or null")
		}
		r.ID = body.ID
	}
	if kind != nil { // what is of the right type was read all the same
		return r, invalid("field `%s` is of the wrong type", kind.Field)
	}
	if body.Method == nil {
		return r, invalid("missing field `method`")
	}
	r.Method = *body.Method
	switch r.Method {
	case Subscribe, Unsubscribe:
		return r, r.streams(body.Params)
	case ListSubscriptions:
		return r, nil
	case SetProperty, GetProperty:
		return r, r.property(body.Params)
	}
	return r, invalid("unknown variant %s, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`",
		strconv.Quote(cut(r.Method)))
}

func invalid(format string, args ...any) error {
	return &RequestError{2, "Invalid request: " + fmt.Sprintf(format, args...)}
}

// cut bounds what is repeated of a client's text.
func cut(text string) string {
	const most = 60
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// validID reports whether raw, which is JSON, may identify a request.
func validID(raw []byte) bool {
	if bytes.Equal(raw, null) {
		return true
	}
	if raw[0] != '"' {
		_, err := strconv.ParseInt(string(raw), 10, 64)
		return err == nil
	}
	for _, c := range raw[1 : len(raw)-1] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(raw) <= 36+2
}

func (r *Request) streams(params []json.RawMessage) error {
	if len(params) == 0 {
		return invalid("no streams")
	}
	for _, raw := range params {
		var name string
		if json.Unmarshal(raw, &name) != nil {
			return invalid("stream names must be strings")
		}
		r.Streams = append(r.Streams, name)
	}
	return nil
}

func (r *Request) property(params []json.RawMessage) error {
	var name string
	want := 1
	if r.Method == SetProperty {
		want = 2
	}
	switch {
	case len(params) == 0 || json.Unmarshal(params[0], &name) != nil:
		return invalid("property name must be a string")
	case name != "combined":
		return &RequestError{0, "Unknown property"}
	case len(params) > want:
		return invalid("too many parameters")
	case r.Method == SetProperty && (len(params) < 2 || json.Unmarshal(params[1], &r.Combined) != nil):
		return &RequestError{1, "Invalid value type: expected Boolean"}
	}
	return nil
}

// AppendResult appends the answer to a request; result is JSON.
func AppendResult(dst []byte, result string, id []byte) []byte {
	dst = append(append(dst, `{"result":`...), result...)
	return append(append(append(dst, `,"id":`...), id...), '}')
}

// AppendError appends the refusal of a request.
func AppendError(dst []byte, e *RequestError, id []byte) []byte {
	text, _ := json.Marshal(e.Text) // a string has no error
	dst = strconv.AppendInt(append(dst, `{"error":{"code":`...), int64(e.Code), 10)
	dst = append(append(dst, `,"msg":`...), text...)
	return append(append(append(dst, `},"id":`...), id...), '}')
}

// AppendShutdown appends what tells that the server stops, at a time in ms since
// 1970.
func AppendShutdown(dst []byte, at int64) []byte {
	return append(strconv.AppendInt(append(dst, `{"e":"serverShutdown","E":`...), at, 10), '}')
}

// Kind of a stream.
type Kind uint8

const (
	Diff    Kind = iota + 1 // <symbol>@depth
	Partial                 // <symbol>@depth5, 10, 20
	Trades                  // <symbol>@trade
	Quote                   // <symbol>@bookTicker
)

// Stream is what a name of a stream says.
type Stream struct {
	ID     string // of the pair, in capitals
	Kind   Kind
	Levels uint32 // Partial
	Speed  Speed  // Diff and Partial
}

// Speed is what a stream's name says of its interval. Clients look for its data under
// the name that they gave.
type Speed uint8

const (
	Usual Speed = iota // nothing, which stands for 1000 ms
	Slow               // @1000ms
	Fast               // @100ms
)

// suffixes are what names end with, by speed.
var suffixes = [...]string{Usual: "", Slow: "@1000ms", Fast: "@100ms"}

// ParseStream reads the name of a stream.
func ParseStream(name string) (s Stream, ok bool) {
	id, rest, found := strings.Cut(name, "@")
	if !found || id == "" || strings.ContainsFunc(id, func(r rune) bool { return r >= utf8.RuneSelf || 'A' <= r && r <= 'Z' }) {
		return s, false
	}
	s.ID = strings.ToUpper(id)
	kind, speed, hasSpeed := strings.Cut(rest, "@")
	switch kind {
	case "depth":
		s.Kind = Diff
	case "depth5":
		s.Kind, s.Levels = Partial, 5
	case "depth10":
		s.Kind, s.Levels = Partial, 10
	case "depth20":
		s.Kind, s.Levels = Partial, 20
	case "trade":
		s.Kind = Trades
	case "bookTicker":
		s.Kind = Quote
	default:
		return s, false
	}
	switch {
	case !hasSpeed:
		return s, true
	case s.Kind != Diff && s.Kind != Partial:
		return s, false
	case speed == "100ms":
		s.Speed = Fast
	case speed == "1000ms":
		s.Speed = Slow
	default:
		return s, false
	}
	return s, true
}

// Name returns the name of s.
func (s Stream) Name() string { return string(s.AppendName(nil)) }

// AppendName appends the name of s.
func (s Stream) AppendName(dst []byte) []byte {
	dst = append(dst, strings.ToLower(s.ID)...)
	switch s.Kind {
	case Diff:
		dst = append(dst, "@depth"...)
	case Partial:
		dst = strconv.AppendUint(append(dst, "@depth"...), uint64(s.Levels), 10)
	case Trades:
		dst = append(dst, "@trade"...)
	case Quote:
		dst = append(dst, "@bookTicker"...)
	}
	return append(dst, suffixes[s.Speed]...)
}
