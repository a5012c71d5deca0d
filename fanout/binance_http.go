package fanout

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/binance"
)

// handleBinance adds what is served of Binance's REST API.
func (h *Hub) handleBinance(mux *http.ServeMux) {
	const root = "GET /dialect/binance/api/v3/"
	mux.HandleFunc(root+"depth", h.serveBinanceDepth)
	mux.HandleFunc(root+"exchangeInfo", h.serveExchangeInfo)
	mux.HandleFunc(root+"ping", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc(root+"time", func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, http.StatusOK, map[string]int64{"serverTime": h.binanceTime(r)})
	})
	mux.HandleFunc("/dialect/binance/", func(w http.ResponseWriter, _ *http.Request) {
		binanceError(w, http.StatusNotFound, -1020, "This operation is not supported.")
	})
}

// binanceTime returns the time in the unit that r asks for.
func (h *Hub) binanceTime(r *http.Request) int64 {
	if microseconds(r.Header.Get("X-Mbx-Time-Unit")) {
		return h.config.Now().UnixMicro()
	}
	return h.config.Now().UnixMilli()
}

func binanceError(w http.ResponseWriter, status, code int, text string) {
	answerJSON(w, status, map[string]any{"code": code, "msg": text})
}

func (h *Hub) serveBinanceDepth(w http.ResponseWriter, r *http.Request) {
	may, ok := h.entitled(w, r)
	if !ok {
		return
	}
	limit := uint64(binance.DefaultDepth)
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.ParseUint(text, 10, 32); err != nil || limit == 0 {
			binanceError(w, http.StatusBadRequest, -1100, "Illegal characters found in parameter 'limit'.")
			return
		}
	}
	limit = min(limit, binance.MaxDepth)
	id := r.URL.Query().Get("symbol")
	if id == "" {
		binanceError(w, http.StatusBadRequest, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
		return
	}
	if limit > 1000 && !h.wholeRead() {
		binanceError(w, http.StatusTooManyRequests, -1003, "Too many requests.")
		return
	}
	var snap proto.Snapshot
	found, err := h.pairs.find(may, id)
	if err == nil {
		err = h.readLive(may, found.Symbol, uint32(limit), &snap)
	}
	switch {
	case errors.Is(err, proto.ErrUnknownSymbol):
		binanceError(w, http.StatusBadRequest, -1121, "Invalid symbol.")
	case errors.Is(err, errForbidden):
		binanceError(w, http.StatusForbidden, -2015, "Invalid API-key, IP, or permissions for action.")
	case err != nil:
		binanceError(w, http.StatusServiceUnavailable, -1001, "Internal error; unable to process your request. Please try again.")
	default:
		bids, asks := snap.Bids[:min(len(snap.Bids), int(limit))], snap.Asks[:min(len(snap.Asks), int(limit))]
		answerBytes(w, http.StatusOK, binance.AppendDepth(nil, snap.Seq, bids, asks, snap.Exponents))
	}
}

func (h *Hub) serveExchangeInfo(w http.ResponseWriter, r *http.Request) {
	may, ok := h.entitled(w, r)
	if !ok {
		return
	}
	table := h.pairs.fresh(pairsListAge)
	list := may.granted(table.list, h.config.Delay)
	if asked, some := askedSymbols(r); some {
		list = nil
		for _, id := range asked {
			p := table.known(may, id, h.config.Delay)
			if p == nil {
				binanceError(w, http.StatusBadRequest, -1121, "Invalid symbol.")
				return
			}
			list = append(list, p)
		}
	}
	if len(list) > smallList && !h.wholeRead() {
		binanceError(w, http.StatusTooManyRequests, -1003, "Too many requests.")
		return
	}
	info := binance.ExchangeInfo{
		Timezone: "UTC", ServerTime: h.binanceTime(r),
		RateLimits: []string{}, ExchangeFilters: []string{}, Symbols: []binance.Market{},
	}
	for _, p := range list {
		in := binance.Instrument{Pair: p.Pair, Exponents: p.Exponents, Phase: p.Phase}
		if p.Instrument != nil {
			in.Tick, in.Lot = p.Instrument.Tick, p.Instrument.Lot
		}
		info.Symbols = append(info.Symbols, in.Market())
	}
	answerJSON(w, http.StatusOK, info)
}

// askedSymbols returns the symbols that a request is about: ?symbol=A or
// ?symbols=["A","B"]; some is false where it is about all.
func askedSymbols(r *http.Request) (ids []string, some bool) {
	query := r.URL.Query()
	if id := query.Get("symbol"); id != "" {
		return []string{id}, true
	}
	list := query.Get("symbols")
	if list == "" {
		return nil, false
	}
	if json.Unmarshal([]byte(list), &ids) != nil {
		ids = strings.Split(list, ",")
	}
	return ids, true
}
