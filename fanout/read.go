package fanout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// defaultHTTPDepth is the depth of /v1/books/{symbol} where none is asked for.
const defaultHTTPDepth = 10

// wholeRead spends one of the whole reads that the server does in a second; false:
// there is none left.
func (h *Hub) wholeRead() bool {
	if h.wholeReads.Allow() {
		return true
	}
	h.stats.WholeReadsRefused.Add(1)
	return false
}

// affordable spends one of the whole reads that the server does in a second; false:
// it has been refused. What is asked of all at once costs a partition's lock for long.
func (h *Hub) affordable(w http.ResponseWriter) bool {
	if h.wholeRead() {
		return true
	}
	w.Header().Set("Retry-After", "1")
	httpError(w, http.StatusTooManyRequests, "rate_limited", "too many whole books or lists in too short a time: ask for fewer levels, or subscribe")
	return false
}

// serveBook answers with one book as it is. depth 0 is all of it; other depths are
// granted as in a subscription.
func (h *Hub) serveBook(w http.ResponseWriter, r *http.Request) {
	may, a, ok := h.begin(w, r)
	if !ok {
		return
	}
	q := query{values: r.URL.Query()}
	depth := uint32(q.number("depth", defaultHTTPDepth, 1<<32-1))
	channel, counts := q.channels()[0], q.flag("counts")
	if len(q.values["channel"]) > 1 || channel != pb.Channel_CHANNEL_BOOK && channel != pb.Channel_CHANNEL_ORDERS {
		q.refuse("channel is neither book nor orders")
	}
	key, err := grant(r.PathValue("symbol"), channel, depth, q.values.Get("group"), counts)
	if q.err != nil {
		err = q.err
	}
	if err == nil {
		err = may.allows(key, h.config.Delay)
	}
	if err != nil {
		readError(w, err)
		return
	}
	if key.View.Depth == 0 && !h.affordable(w) {
		return
	}
	var s proto.Snapshot
	if err := h.ReadView(key, &s); err != nil {
		readError(w, err)
		return
	}
	h.meter(may, key)
	a.tag = fmt.Sprintf("%016x-%d-%08x-%d%d%d", s.Epoch, s.Seq, s.Hash, s.State, s.Reason, s.Phase)
	form := proto.TopicForm{Counts: key.View.Counts, Exponents: s.Exponents}
	a.body = a.codec.AppendSnapshot(nil, form, proto.SnapshotInitial, &s)
	if a.codec == proto.CodecJSON {
		a.body = append(a.body, '\n')
	}
	a.write(w, r)
}

// symbolList is what is known, kept for a moment so that who lists often does not
// hold up the partitions.
type symbolList struct {
	mu    sync.Mutex // held while the partitions are asked
	at    time.Time
	whole bool               // what is not in it did not exist then
	infos []proto.SymbolInfo // never changed once it is here
}

// symbolsFor is how long a list of symbols is kept.
const symbolsFor = 250 * time.Millisecond

// symbols returns what is known, at most symbolsFor ago, and whether that was all
// there is.
func (h *Hub) symbols() (infos []proto.SymbolInfo, whole bool) {
	l := &h.symbolList
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := h.config.Now(); l.at.IsZero() || now.Sub(l.at) >= symbolsFor {
		l.whole = h.config.Books.CaughtUp() // before: what is found meanwhile does no harm
		l.infos, l.at = h.Symbols(), now
	}
	return l.infos, l.whole
}

func (h *Hub) serveSymbols(w http.ResponseWriter, r *http.Request) {
	may, a, ok := h.begin(w, r)
	if !ok {
		return
	}
	infos, _ := h.symbols()
	infos = may.listed(infos, h.config.Delay)
	if len(infos) > smallList && !h.affordable(w) {
		return
	}
	var err error
	if a.codec == proto.CodecProto {
		var list pb.Symbols
		for i := range infos {
			list.Symbols = append(list.Symbols, standingOf(&infos[i]))
		}
		a.body, err = googleproto.MarshalOptions{Deterministic: true}.Marshal(&list)
	} else {
		list := struct {
			Symbols []listing `json:"symbols"`
		}{Symbols: []listing{}}
		for i := range infos {
			list.Symbols = append(list.Symbols, listingOf(&infos[i]))
		}
		a.body, err = json.Marshal(list)
		a.body = append(a.body, '\n')
	}
	if err != nil {
		readError(w, err)
		return
	}
	a.tag = sumOf(a.body)
	a.write(w, r)
}

// smallList is of how many symbols a list may be asked for as often as one likes.
const smallList = 1000

// serveStatus says how the server stands, and nothing of what it holds.
func (h *Hub) serveStatus(w http.ResponseWriter, r *http.Request) {
	_, a, ok := h.begin(w, r)
	if !ok {
		return
	}
	h.mu.Lock()
	draining := h.closed
	h.mu.Unlock()
	status := &pb.ServerStatus{Version: 1, Server: h.config.Server, Time: h.now(), CaughtUp: h.config.Books.CaughtUp(), Draining: draining}
	infos, _ := h.symbols()
	for _, s := range infos {
		switch s.State {
		case proto.Live:
			status.Live++
		case proto.Recovering:
			status.Recovering++
		case proto.Stale:
			status.Stale++
		}
	}
	var err error
	if a.codec == proto.CodecProto {
		a.body, err = googleproto.MarshalOptions{Deterministic: true}.Marshal(status)
	} else {
		a.body, err = json.Marshal(statusOf(status))
		a.body = append(a.body, '\n')
	}
	if err != nil {
		readError(w, err)
		return
	}
	a.write(w, r)
}

// jsonStatus is the answer of /v1/status.
type jsonStatus struct {
	Version    uint32 `json:"version"`
	Server     string `json:"server"`
	Time       string `json:"time"`
	CaughtUp   bool   `json:"caught_up"`
	Draining   bool   `json:"draining"`
	Live       uint32 `json:"live"`
	Recovering uint32 `json:"recovering"`
	Stale      uint32 `json:"stale"`
}

func statusOf(s *pb.ServerStatus) jsonStatus {
	return jsonStatus{
		Version: s.Version, Server: s.Server, Time: strconv.FormatInt(s.Time, 10), CaughtUp: s.CaughtUp,
		Draining: s.Draining, Live: s.Live, Recovering: s.Recovering, Stale: s.Stale,
	}
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

func listingOf(s *proto.SymbolInfo) listing {
	l := listing{
		Symbol:        s.Symbol,
		State:         proto.StateWord(s.State),
		Seq:           strconv.FormatInt(s.Seq, 10),
		Epoch:         fmt.Sprintf("%016x", s.Epoch),
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

// standingOf is the same in protobuf.
func standingOf(s *proto.SymbolInfo) *pb.SymbolStanding {
	standing := &pb.SymbolStanding{
		Symbol: s.Symbol, State: pb.State(s.State), Reason: pb.Reason(s.Reason), Phase: pb.Phase(s.Phase), Seq: s.Seq, Epoch: s.Epoch,
		PriceExponent: int32(s.Exponents.Price), QtyExponent: int32(s.Exponents.Qty),
	}
	if i := s.Instrument; i != nil {
		standing.Instrument = &pb.Instrument{
			PriceExponent: int32(i.Exponents.Price), QtyExponent: int32(i.Exponents.Qty), Tick: i.Tick, Lot: i.Lot,
			Type: pb.InstrumentType(i.Type), Name: i.Name, Base: i.Base, Quote: i.Quote, ExpiryTime: i.ExpiryTime, MaxLevels: i.MaxLevels,
		}
	}
	return standing
}
