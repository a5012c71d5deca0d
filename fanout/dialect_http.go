package fanout

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// Dialects serves exchanges' protocols below /dialect/, so that their clients connect
// by changing an address:
//
//	/dialect/kraken/v2                          WebSocket
//	/dialect/kraken/0/public/…                  Assets, AssetPairs, Depth, SystemStatus, Time
//	/dialect/binance/ws, /ws/<stream>, /stream  WebSocket
//	/dialect/binance/api/v3/…                   depth, exchangeInfo, ping, time
//
// Handshakes are s's in all but their protocol.
func (s *StreamHandler) Dialects() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/dialect/kraken/v2", s.speaking(speechOfKraken))
	binance := s.speaking(speechOfBinance)
	mux.Handle("/dialect/binance/ws", binance)
	mux.Handle("/dialect/binance/ws/{stream...}", binance)
	mux.Handle("/dialect/binance/stream", binance)
	s.Hub.handleKraken(mux)
	s.Hub.handleBinance(mux)
	return mux
}

// speech is the protocol that a handshake's address stands for.
type speech struct {
	framing framing
	streams []string // that its address asks for
}

// speaking returns a handler like s of connections that speak a dialect.
func (s *StreamHandler) speaking(of func(*http.Request) (speech, error)) http.Handler {
	dialect := *s
	dialect.speech = of
	return &dialect
}

func speechOfKraken(*http.Request) (speech, error) { return speech{framing: framingKraken}, nil }

// errUnit refuses times in another unit than they are sent in: who asks for it would
// take what comes for something else.
var errUnit = errors.New("times of streams are in milliseconds here: timeUnit=MICROSECOND cannot be had")

// speechOfBinance reads the streams of an address: one raw stream below /ws/, or
// combined ones in the query of /stream.
func speechOfBinance(r *http.Request) (speech, error) {
	if microseconds(r.URL.Query().Get("timeUnit")) {
		return speech{}, errUnit
	}
	if strings.HasSuffix(r.URL.Path, "/stream") {
		streams := strings.Split(r.URL.Query().Get("streams"), "/")
		return speech{framing: framingStreams, streams: streams}, nil
	}
	if stream := r.PathValue("stream"); stream != "" {
		return speech{framing: framingBinance, streams: strings.Split(stream, "/")}, nil
	}
	return speech{framing: framingBinance}, nil
}

// microseconds reports whether a client of Binance names that unit.
func microseconds(unit string) bool { return strings.EqualFold(unit, "MICROSECOND") }

// granted returns those of list that the bearer of may knows of.
func (may *Grant) granted(list []*listedPair, delay time.Duration) []*listedPair {
	if may == nil {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(p *listedPair) bool { return !may.knows(p.Symbol, delay) })
}

// answerJSON answers a question of a dialect's client.
func answerJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "a fault of the server", http.StatusInternalServerError)
		return
	}
	answerBytes(w, status, body)
}

// answerBytes is answerJSON for what is JSON. Who is refused for now, not for what
// was asked, may come again.
func answerBytes(w http.ResponseWriter, status int, body []byte) {
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the asker may have gone
}

// readLive fills snap with at least depth levels a side of a symbol's book, 0 for
// all, which may must grant. A book that is not live is refused with
// proto.ErrNotReady: a dialect has no word for what it is.
func (h *Hub) readLive(may *Grant, symbol string, depth uint32, snap *proto.Snapshot) error {
	key := proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook, View: proto.View{Depth: proto.GrantDepth(depth)}}
	if err := may.allows(key, h.config.Delay); err != nil {
		return err
	}
	if err := h.ReadView(key, snap); err != nil {
		return err
	}
	h.meter(may, key)
	if snap.State != proto.Live {
		return proto.ErrNotReady
	}
	return nil
}
