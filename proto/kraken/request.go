package kraken

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Request is one message of a client.
type Request struct {
	Method string `json:"method"`
	ReqID  *int64 `json:"req_id"`
	Params Params `json:"params"`
}

// Params are those of subscribe and unsubscribe.
type Params struct {
	Channel      string   `json:"channel"`
	Symbol       []string `json:"symbol"`
	Depth        *int     `json:"depth"`
	Snapshot     *bool    `json:"snapshot"`
	EventTrigger string   `json:"event_trigger"`
}

// ErrMalformed is what every error of Decode wraps: its text is Kraken's.
var ErrMalformed = errors.New("Malformed request") //lint:ignore ST1005 it is sent as it stands

// Decode reads a message, whose size the connection has bounded.
func Decode(msg []byte) (*Request, error) {
	r := &Request{}
	if err := json.Unmarshal(msg, r); err != nil {
		return r, fmt.Errorf("%w: %s", ErrMalformed, jsonFault(err))
	}
	if r.Method == "" {
		return r, fmt.Errorf("%w: no method", ErrMalformed)
	}
	return r, nil
}

// jsonFault says what is wrong without the names of Go's types.
func jsonFault(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return "field " + kind.Field + " is of the wrong type"
	}
	return "not JSON"
}

// Answer is what a request is answered with.
type Answer struct {
	Method string
	ReqID  *int64
	In     time.Time // when the request came
	Out    time.Time // when the answer goes

	// Of subscribe and unsubscribe.
	Channel  string
	Symbol   string // empty: none is concerned
	Depth    int    // 0: none is concerned
	Trigger  string // empty: none is concerned
	Snapshot *bool

	// Error refuses the request; empty: it succeeded.
	Error string
}

// AppendAnswer appends an answer.
func AppendAnswer(dst []byte, a *Answer) []byte {
	dst = appendString(append(dst, `{"method":`...), a.Method)
	if a.Error != "" {
		dst = appendString(append(dst, `,"error":`...), a.Error)
		if a.Symbol != "" {
			dst = appendString(append(dst, `,"symbol":`...), a.Symbol)
		}
	} else if a.Channel != "" {
		dst = appendString(append(dst, `,"result":{"channel":`...), a.Channel)
		if a.Symbol != "" {
			dst = appendString(append(dst, `,"symbol":`...), a.Symbol)
		}
		if a.Depth != 0 {
			dst = strconv.AppendInt(append(dst, `,"depth":`...), int64(a.Depth), 10)
		}
		if a.Trigger != "" {
			dst = appendString(append(dst, `,"event_trigger":`...), a.Trigger)
		}
		if a.Snapshot != nil {
			dst = strconv.AppendBool(append(dst, `,"snapshot":`...), *a.Snapshot)
		}
		dst = append(dst, '}')
	}
	if a.Method != "pong" {
		dst = strconv.AppendBool(append(dst, `,"success":`...), a.Error == "")
	}
	if a.ReqID != nil {
		dst = strconv.AppendInt(append(dst, `,"req_id":`...), *a.ReqID, 10)
	}
	dst = appendTime(append(dst, `,"time_in":`...), a.In.UnixNano())
	return append(appendTime(append(dst, `,"time_out":`...), a.Out.UnixNano()), '}')
}

// appendString appends text of others, which may hold anything.
func appendString(dst []byte, text string) []byte {
	b, _ := json.Marshal(text) // a string has no error
	return append(dst, b...)
}

// AppendStatus appends what a connection is greeted with, and told before it ends:
// system is online or maintenance.
func AppendStatus(dst []byte, system, version string, connection uint64) []byte {
	dst = appendString(append(dst, `{"channel":"status","type":"update","data":[{"version":`...), version)
	dst = append(append(append(dst, `,"system":"`...), system...), `","api_version":"v2","connection_id":`...)
	return append(strconv.AppendUint(dst, connection, 10), `}]}`...)
}

// Heartbeat says that a connection lives to which nothing else had to be said.
const Heartbeat = `{"channel":"heartbeat"}`

// Depths are those of the channel book.
var Depths = []int{10, 25, 100, 500, 1000}
