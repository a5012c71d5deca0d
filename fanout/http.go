package fanout

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// HTTPHandler serves what is not a WebSocket:
//
//	GET /v1/symbols          what is known, in order
//	GET /v1/books/{symbol}   one book, in the form of a snapshot frame
//	GET /v1/status           the server itself
//	GET /v1/sse              a stream of Server-Sent Events
//	GET /v1/poll             what is owed from a cursor on
//
// docs/openapi.yaml describes them. A symbol may hold slashes, percent-encoded or not.
func HTTPHandler(h *Hub) http.Handler {
	mux := http.NewServeMux()
	for path, serve := range paths {
		mux.HandleFunc("GET "+strings.Replace(path, "}", "...}", 1), func(w http.ResponseWriter, r *http.Request) { serve(h, w, r) })
	}
	return mux
}

// paths are what HTTPHandler serves, as its description names them.
var paths = map[string]func(*Hub, http.ResponseWriter, *http.Request){
	"/v1/symbols":        (*Hub).serveSymbols,
	"/v1/books/{symbol}": (*Hub).serveBook,
	"/v1/status":         (*Hub).serveStatus,
	"/v1/sse":            (*Hub).serveEvents,
	"/v1/poll":           (*Hub).servePoll,
}

// Paths returns what HTTPHandler serves, in order, for its description.
func Paths() []string { return slices.Sorted(maps.Keys(paths)) }

// Media types of answers.
const (
	typeJSON   = "application/json"
	typeProto  = "application/protobuf"
	typeEvents = "text/event-stream"
)

// answerTypes are the media types that each codec answers with, and others' names of
// them.
var answerTypes = [proto.NumCodecs][]string{
	proto.CodecJSON:  {typeJSON},
	proto.CodecProto: {typeProto, "application/x-protobuf", "application/vnd.google.protobuf"},
}

// preference is what a request says of a codec: by the most specific of the ranges
// that its type is in.
type preference struct {
	specific int // 0: nothing is said
	q        float64
}

// say takes in what is said of a codec.
func (p *preference) say(specific int, q float64) {
	if specific > p.specific || specific == p.specific && q > p.q {
		*p = preference{specific, q}
	}
}

// accepted returns the codec that r prefers (RFC 9110 section 12.5.1): JSON where it
// has no preference. false: it takes neither.
func accepted(r *http.Request) (proto.Codec, bool) {
	ranges := strings.TrimSpace(strings.Join(r.Header.Values("Accept"), ","))
	if ranges == "" {
		return proto.CodecJSON, true
	}
	var of [proto.NumCodecs]preference
	for part := range strings.SplitSeq(ranges, ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if text, given := parameters["q"]; given {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		for codec := range of {
			switch {
			case kind == "*/*":
				of[codec].say(1, q)
			case kind == "application/*":
				of[codec].say(2, q)
			case slices.Contains(answerTypes[codec], kind):
				of[codec].say(3, q)
			}
		}
	}
	if of[proto.CodecProto].q > of[proto.CodecJSON].q {
		return proto.CodecProto, true
	}
	return proto.CodecJSON, of[proto.CodecJSON].q > 0
}

// httpAnswer is what a plain question is answered with. A browser may keep it, and asks
// each time whether it still holds.
type httpAnswer struct {
	codec proto.Codec
	tag   string // entity tag without quotes; empty: it is not to be kept
	body  []byte
}

// begin returns what r's token grants, and begins its answer; false: it has been
// refused.
func (h *Hub) begin(w http.ResponseWriter, r *http.Request) (may *Grant, a httpAnswer, ok bool) {
	if may, ok = h.entitled(w, r); !ok {
		return nil, a, false
	}
	if a.codec, ok = accepted(r); !ok {
		httpError(w, http.StatusNotAcceptable, "bad_request", "answers are "+typeJSON+" or "+typeProto)
	}
	return may, a, ok
}

// write answers with a, or says that what the asker has still holds.
func (a *httpAnswer) write(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Vary", "Accept")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if a.tag != "" {
		tag := strconv.Quote(a.tag + "-" + a.codec.String())
		header.Set("ETag", tag)
		header.Set("Cache-Control", "no-cache")
		if has(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", typeJSON)
	if a.codec == proto.CodecProto {
		header.Set("Content-Type", typeProto)
	}
	_, _ = w.Write(a.body) // the asker may have gone
}

// has reports whether a list of entity tags names tag (RFC 9110 section 13.1.2).
func has(lists []string, tag string) bool {
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// sumOf makes an entity tag of what has no seq.
func sumOf(body []byte) string {
	sum := fnv.New64a()
	_, _ = sum.Write(body) // never fails
	return fmt.Sprintf("%016x", sum.Sum64())
}

// readError answers with the error codes of the client protocol.
func readError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errForbidden):
		httpError(w, http.StatusForbidden, "forbidden", err.Error())
	case errors.Is(err, errQuery):
		httpError(w, http.StatusBadRequest, "bad_request", err.Error())
	case errors.Is(err, proto.ErrUnknownSymbol):
		httpError(w, http.StatusNotFound, "unknown_symbol", "no such symbol: /v1/symbols lists them")
	case errors.Is(err, proto.ErrNotReady):
		w.Header().Set("Retry-After", "1")
		httpError(w, http.StatusServiceUnavailable, "not_ready", "the server has not read its Kafka topics to the end yet")
	case errors.Is(err, proto.ErrUnknownChannel):
		httpError(w, http.StatusBadRequest, "unknown_channel", err.Error())
	case errors.Is(err, proto.ErrBadView):
		httpError(w, http.StatusBadRequest, "bad_view", err.Error())
	default:
		httpError(w, http.StatusInternalServerError, "internal", "a fault of the server")
	}
}

func httpError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"type": "error", "code": code, "message": message}) // the asker may have gone
}
