package fanout

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/kraken"
)

// handleKraken adds what is served of Kraken's REST API.
func (h *Hub) handleKraken(mux *http.ServeMux) {
	const root = "GET /dialect/kraken/0/public/"
	mux.HandleFunc(root+"Assets", h.serveKrakenAssets)
	mux.HandleFunc(root+"AssetPairs", h.serveKrakenPairs)
	mux.HandleFunc(root+"Depth", h.serveKrakenDepth)
	mux.HandleFunc(root+"Time", func(w http.ResponseWriter, _ *http.Request) {
		now := h.config.Now().UTC()
		krakenResult(w, map[string]any{"unixtime": now.Unix(), "rfc1123": now.Format(time.RFC1123)})
	})
	mux.HandleFunc(root+"SystemStatus", func(w http.ResponseWriter, _ *http.Request) {
		krakenResult(w, map[string]any{"status": "online", "timestamp": h.config.Now().UTC().Format(time.RFC3339)})
	})
	mux.HandleFunc("/dialect/kraken/", func(w http.ResponseWriter, _ *http.Request) {
		krakenError(w, http.StatusNotFound, "EGeneral:Unknown method")
	})
}

// krakenResult answers as Kraken does.
func krakenResult(w http.ResponseWriter, result any) {
	answerJSON(w, http.StatusOK, map[string]any{"error": []string{}, "result": result})
}

func krakenError(w http.ResponseWriter, status int, text string) {
	answerJSON(w, status, map[string]any{"error": []string{text}})
}

// krakenInstruments returns the symbols that have a name.
func (h *Hub) krakenInstruments(may *Grant) (list []kraken.Instrument) {
	for _, p := range may.granted(h.pairs.fresh(pairsListAge).list, h.config.Delay) {
		list = append(list, krakenInstrument(p))
	}
	return list
}

// krakenPairs returns those that asked names, by ID or by name, or all there are. They
// are called what they were asked for by, as their client looks for them by that. false:
// one of them does not exist.
func (h *Hub) krakenPairs(may *Grant, asked string) (pairs map[string]kraken.Pair, ok bool) {
	pairs = map[string]kraken.Pair{}
	if asked == "" {
		for _, in := range h.krakenInstruments(may) {
			pairs[kraken.ID(in.Pair)] = in.PairInfo()
		}
		return pairs, true
	}
	table := h.pairs.fresh(pairsListAge)
	for name := range strings.SplitSeq(asked, ",") {
		base, quote, symbol := strings.Cut(name, "/")
		p := table.known(may, base+quote, h.config.Delay)
		if p == nil || symbol && kraken.Symbol(p.Pair) != name {
			return nil, false
		}
		in := krakenInstrument(p)
		pairs[name] = in.PairInfo()
	}
	return pairs, true
}

func krakenInstrument(p *listedPair) kraken.Instrument {
	in := kraken.Instrument{Pair: p.Pair, Exponents: p.Exponents, Phase: p.Phase}
	if p.Instrument != nil {
		in.Tick, in.Lot = p.Instrument.Tick, p.Instrument.Lot
	}
	return in
}

func (h *Hub) serveKrakenAssets(w http.ResponseWriter, r *http.Request) {
	may, ok := h.entitled(w, r)
	if !ok {
		return
	}
	list := h.krakenInstruments(may)
	if len(list) > smallList && !h.wholeRead() {
		krakenError(w, http.StatusTooManyRequests, "EGeneral:Too many requests")
		return
	}
	result := map[string]kraken.AssetInfo{}
	for _, a := range kraken.AssetsOf(list) {
		result[a.ID] = a.Info()
	}
	if asked := r.URL.Query().Get("asset"); asked != "" {
		some := map[string]kraken.AssetInfo{}
		for id := range strings.SplitSeq(asked, ",") {
			info, known := result[id]
			if !known {
				krakenError(w, http.StatusOK, "EQuery:Unknown asset")
				return
			}
			some[id] = info
		}
		result = some
	}
	krakenResult(w, result)
}

func (h *Hub) serveKrakenPairs(w http.ResponseWriter, r *http.Request) {
	may, ok := h.entitled(w, r)
	if !ok {
		return
	}
	result, ok := h.krakenPairs(may, r.URL.Query().Get("pair"))
	switch {
	case !ok:
		krakenError(w, http.StatusOK, "EQuery:Unknown asset pair")
	case len(result) > smallList && !h.wholeRead():
		krakenError(w, http.StatusTooManyRequests, "EGeneral:Too many requests")
	default:
		krakenResult(w, result)
	}
}

func (h *Hub) serveKrakenDepth(w http.ResponseWriter, r *http.Request) {
	may, ok := h.entitled(w, r)
	if !ok {
		return
	}
	count := uint64(kraken.DefaultDepth)
	if text := r.URL.Query().Get("count"); text != "" {
		var err error
		if count, err = strconv.ParseUint(text, 10, 16); err != nil || count == 0 {
			krakenError(w, http.StatusOK, "EGeneral:Invalid arguments:count")
			return
		}
	}
	count = min(count, kraken.MaxDepth)
	name, find := r.URL.Query().Get("pair"), h.pairs.find
	if strings.Contains(name, "/") {
		find = h.pairs.named
	}
	var snap proto.Snapshot
	found, err := find(may, name)
	if err == nil {
		err = h.readLive(may, found.Symbol, uint32(count), &snap)
	}
	switch {
	case errors.Is(err, proto.ErrUnknownSymbol):
		krakenError(w, http.StatusOK, "EQuery:Unknown asset pair")
	case errors.Is(err, errForbidden):
		krakenError(w, http.StatusForbidden, "EGeneral:Permission denied")
	case err != nil:
		krakenError(w, http.StatusServiceUnavailable, "EService:Unavailable")
	default:
		answerBytes(w, http.StatusOK, kraken.AppendDepth(nil, name, &snap, int(count)))
	}
}
