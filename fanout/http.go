package fanout

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// defaultHTTPDepth is the depth of /v1/books/{symbol} where none is asked for.
const defaultHTTPDepth = 10

// HTTPHandler serves single questions over plain HTTP, as JSON:
//
//	GET /v1/symbols                           what is known, in order
//	GET /v1/books/{symbol}?depth=10&counts=1  one book, in the form of a snapshot frame
//
// A symbol may hold slashes, percent-encoded or not. depth 0 is the whole book;
// other depths are granted as in a subscription. group sums levels over a price increment.
func HTTPHandler(h *Hub) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/symbols", h.serveSymbols)
	mux.HandleFunc("GET /v1/books/{symbol...}", h.serveBook)
	mux.HandleFunc("GET /v1/sse", h.serveEvents)
	mux.HandleFunc("GET /v1/poll", h.servePoll)
	return mux
}

// listing is a symbol in the answer of /v1/symbols.
type listing struct {
	Symbol        string `json:"symbol"`
	State         string `json:"state"`
	Reason        string `json:"reason,omitempty"`
	Phase         string `json:"phase,omitempty"`
	Seq           string `json:"seq"`
	Epoch         string `json:"epoch"`
	PriceExponent int8   `json:"price_exponent"`
	QtyExponent   int8   `json:"qty_exponent"`
	Type          string `json:"type,omitempty"`
	Name          string `json:"name,omitempty"`
	Base          string `json:"base,omitempty"`
	Quote         string `json:"quote,omitempty"`
	Tick          string `json:"tick,omitempty"`
	Lot           string `json:"lot,omitempty"`
}

func (h *Hub) serveSymbols(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Symbols []listing `json:"symbols"`
	}{Symbols: []listing{}}
	for _, s := range h.Symbols() {
		answer.Symbols = append(answer.Symbols, listingOf(&s))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // the asker may have gone
}

func listingOf(s *proto.SymbolInfo) listing {
	l := listing{
		Symbol:        s.Symbol,
		State:         proto.StateWord(s.State),
		Seq:           strconv.FormatInt(s.Seq, 10),
		Epoch:         epochText(s.Epoch),
		PriceExponent: s.Exponents.Price,
		QtyExponent:   s.Exponents.Qty,
	}
	if s.Phase != proto.PhaseUnknown {
		l.Phase = proto.PhaseWord(s.Phase)
	}
	if s.Reason != proto.ReasonNone {
		l.Reason = proto.ReasonWord(s.Reason)
	}
	if i := s.Instrument; i != nil {
		l.Type = proto.InstrumentTypeWord(i.Type)
		l.Name, l.Base, l.Quote = i.Name, i.Base, i.Quote
		if i.Tick != 0 {
			l.Tick = string(proto.AppendDecimal(nil, i.Tick, s.Exponents.Price))
		}
		if i.Lot != 0 {
			l.Lot = string(proto.AppendDecimal(nil, i.Lot, s.Exponents.Qty))
		}
	}
	return l
}

// epochText writes an epoch as frames do.
func epochText(epoch uint64) string {
	const digits = 16
	text := strconv.FormatUint(epoch, 16)
	return "0000000000000000"[:digits-len(text)] + text
}

func (h *Hub) serveBook(w http.ResponseWriter, r *http.Request) {
	key := proto.TopicKey{Symbol: r.PathValue("symbol"), Channel: proto.ChannelBook}
	query := r.URL.Query()
	depth := uint64(defaultHTTPDepth)
	var err error
	if text := query.Get("depth"); text != "" {
		if depth, err = strconv.ParseUint(text, 10, 32); err != nil {
			httpError(w, http.StatusBadRequest, "bad_request", "depth must be a number of levels, 0 for all")
			return
		}
	}
	group, err := proto.ParseGroup(query.Get("group"))
	if err != nil {
		readError(w, err)
		return
	}
	key.View = proto.View{Depth: proto.GrantDepth(uint32(depth)), Group: group, Counts: query.Get("counts") == "1"}
	var s proto.Snapshot
	if err := h.ReadView(key, &s); err != nil {
		readError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	form := proto.TopicForm{Counts: key.View.Counts, Exponents: s.Exponents}
	_, _ = w.Write(append(proto.AppendJSONSnapshot(nil, form, proto.SnapshotInitial, &s), '\n'))
}

// readError answers with the error codes of the client protocol.
func readError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, proto.ErrUnknownSymbol):
		httpError(w, http.StatusNotFound, "unknown_symbol", "no such symbol: /v1/symbols lists them")
	case errors.Is(err, proto.ErrNotReady):
		w.Header().Set("Retry-After", "1")
		httpError(w, http.StatusServiceUnavailable, "not_ready", "the server has not read its Kafka topics to the end yet")
	case errors.Is(err, proto.ErrUnknownChannel), errors.Is(err, proto.ErrBadView):
		httpError(w, http.StatusBadRequest, "bad_view", err.Error())
	default:
		httpError(w, http.StatusInternalServerError, "internal", "a fault of the server")
	}
}

func httpError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"type": "error", "code": code, "message": message})
}
