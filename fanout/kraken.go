package fanout

import (
	"cmp"
	"slices"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/kraken"
	"github.com/depthcast/depthcast/proto/pb"
)

// krakenHistory is how many past trades Kraken's channel trade begins with.
const krakenHistory = 50

// sayKrakenStatus tells c how the server is.
func (s *shard) sayKrakenStatus(c *conn, system string) {
	s.tellDialect(c, kraken.AppendStatus(s.encoder.begin(), system, s.config.Server, uint64(c.fd)))
}

// answerKraken answers a request, or one symbol of it.
func (s *shard) answerKraken(c *conn, a *kraken.Answer) {
	a.In, a.Out = s.now, s.now
	s.tellDialect(c, kraken.AppendAnswer(s.encoder.begin(), a))
}

// refuseKraken is answerKraken with an error.
func (s *shard) refuseKraken(c *conn, a kraken.Answer, code pb.ErrorCode, text string) {
	s.stats.errors[code].Add(1)
	a.Error = cut(text, maxTextBytes)
	s.answerKraken(c, &a)
}

// askKraken handles a message of a client that speaks Kraken's protocol.
func (s *shard) askKraken(c *conn, msg []byte, granted bool) {
	if !granted && len(msg) > largeMessage {
		s.refuseKraken(c, kraken.Answer{}, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, "Exceeded msg rate")
		return
	}
	r, err := kraken.Decode(msg)
	a := kraken.Answer{Method: r.Method, ReqID: r.ReqID, Channel: r.Params.Channel}
	switch {
	case err != nil:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, err.Error())
	case !granted:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, "Exceeded msg rate")
	case r.Method == "ping":
		s.answerKraken(c, &kraken.Answer{Method: "pong", ReqID: r.ReqID})
	case r.Method != "subscribe" && r.Method != "unsubscribe":
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, "Unsupported method: "+r.Method)
	case krakenChannels[r.Params.Channel] == 0:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL, "Unsupported channel: "+r.Params.Channel)
	case r.Params.Channel == "instrument":
		s.asksFor(c, patternItems)
		s.relieve(c, 1)
		s.krakenItem(c, r, "", a)
	case len(r.Params.Symbol) == 0:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, kraken.ErrMalformed.Error()+": no symbol")
	case len(r.Params.Symbol) > s.config.MaxItems:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS, "Too many symbols in one request")
	default:
		s.asksFor(c, len(r.Params.Symbol))
		s.relieve(c, len(r.Params.Symbol))
		for _, symbol := range r.Params.Symbol {
			s.krakenItem(c, r, symbol, a)
		}
	}
}

// krakenItem subscribes to or unsubscribes from one symbol of r, and answers it.
func (s *shard) krakenItem(c *conn, r *kraken.Request, symbol string, a kraken.Answer) {
	a.Symbol = symbol
	had := c.krakenSubscription(r.Params.Channel, symbol)
	if r.Method == "unsubscribe" && had != nil {
		s.krakenEnd(c, r, had, a)
		return
	}
	w, code, text := s.krakenWish(c, r, symbol)
	switch {
	case code != 0:
		s.refuseKraken(c, a, code, text)
		return
	case r.Method == "unsubscribe":
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, errNotSubscribed)
		return
	case had != nil:
		s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED, "Already subscribed")
		return
	case c.state != open:
		return
	}
	if no := s.grantWish(c, w); no.code != 0 {
		s.refuseKraken(c, a, no.code, krakenText(no, symbol))
		return
	}
	a.Snapshot = &w.snapshot
	switch r.Params.Channel {
	case "book":
		a.Depth = int(w.key.View.Depth)
	case "ticker":
		a.Trigger = cmp.Or(r.Params.EventTrigger, "trades")
	}
	s.answerKraken(c, &a)
}

const errNotSubscribed = "Subscription Not Found"

// krakenEnd unsubscribes from had, unless r names one of another depth.
func (s *shard) krakenEnd(c *conn, r *kraken.Request, had *subscription, a kraken.Answer) {
	depth := int(had.feed.topic.key.View.Depth)
	if r.Params.Channel == "book" {
		if r.Params.Depth != nil && *r.Params.Depth != depth {
			s.refuseKraken(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, errNotSubscribed)
			return
		}
		a.Depth = depth
	}
	s.remove(had)
	s.answerKraken(c, &a)
}

// krakenSubscription returns c's subscription of a channel and a symbol, by the name
// that it was asked for by, whatever has that name now; nil if it has none.
func (c *conn) krakenSubscription(channel, symbol string) *subscription {
	for _, sub := range c.subs {
		t := sub.feed.topic
		if t.key.Channel != krakenChannels[channel] {
			continue
		}
		if channel == "instrument" || kraken.Symbol(t.dialects.Load().pair) == symbol {
			return sub
		}
	}
	return nil
}

// krakenChannels are those of Kraken's channels.
var krakenChannels = map[string]proto.Channel{
	"book": proto.ChannelBook, "trade": proto.ChannelTrades, "ticker": proto.ChannelTicker, "instrument": proto.ChannelInstruments,
}

// krakenWish returns what one symbol of r asks for, or why it cannot be had.
func (s *shard) krakenWish(c *conn, r *kraken.Request, symbol string) (w wish, code pb.ErrorCode, text string) {
	w = wish{framing: framingKraken, manner: updates, snapshot: true}
	if r.Params.Snapshot != nil {
		w.snapshot = *r.Params.Snapshot
	}
	if r.Params.Channel == "instrument" {
		s.hub.pairs.fresh(pairsMissAge)
		w.key = proto.TopicKey{Symbol: s.hub.pairs.pattern(), Channel: proto.ChannelInstruments}
		return w, 0, ""
	}
	found, err := s.hub.pairs.named(c.granting(), symbol)
	if err != nil {
		code := errorOf(err)
		return w, code, krakenText(refused{code: code}, symbol)
	}
	w.pair, w.key.Symbol = found.Pair, found.Symbol
	switch r.Params.Channel {
	case "trade":
		w.key.Channel = proto.ChannelTrades
		w.snapshot = r.Params.Snapshot != nil && *r.Params.Snapshot
		if w.snapshot {
			w.last = krakenHistory
		}
	case "ticker":
		w.key.Channel, w.manner = proto.ChannelTicker, whole
		if t := r.Params.EventTrigger; t != "" && t != "trades" && t != "bbo" {
			return w, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, "Event trigger not supported"
		}
	default:
		depth := kraken.Depths[0]
		if r.Params.Depth != nil {
			depth = *r.Params.Depth
		}
		if !slices.Contains(kraken.Depths, depth) {
			return w, pb.ErrorCode_ERROR_CODE_BAD_VIEW, "Subscription depth not supported"
		}
		w.key.Channel, w.key.View.Depth = proto.ChannelBook, uint32(depth)
	}
	return w, 0, ""
}

// krakenText says why something was refused in Kraken's words.
func krakenText(no refused, symbol string) string {
	switch no.code {
	case pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL:
		return "Currency pair not supported " + symbol
	case pb.ErrorCode_ERROR_CODE_NOT_READY, pb.ErrorCode_ERROR_CODE_OVERLOADED, pb.ErrorCode_ERROR_CODE_DRAINING:
		return "EService:Unavailable"
	case pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED, pb.ErrorCode_ERROR_CODE_FORBIDDEN:
		return "EAccount:Invalid permissions"
	case pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS:
		return "EAuth:Too many requests"
	case pb.ErrorCode_ERROR_CODE_INTERNAL:
		return "EGeneral:Internal error"
	}
	if no.text != "" {
		return no.text
	}
	return errorRows[no.code].Text
}

// appendKrakenPage appends the listings of one page that have a name of their own.
func (h *Hub) appendKrakenPage(b []byte, page *proto.Instruments) []byte {
	table := h.pairs.table.Load()
	var list []kraken.Instrument
	for _, l := range page.Listings {
		pair, ok := proto.PairOf(l.Symbol, l.Instrument)
		if !ok || !table.owns(pair, l.Symbol) {
			continue
		}
		in := kraken.Instrument{Pair: pair, Exponents: proto.DefaultExponents, Phase: l.Phase, Ended: l.Ended}
		if l.Instrument != nil {
			in.Exponents, in.Tick, in.Lot = l.Instrument.Exponents, l.Instrument.Tick, l.Instrument.Lot
		} else if known := table.byID[pair.Base+pair.Quote]; known != nil {
			in.Exponents = known.Exponents
		}
		list = append(list, in)
	}
	return kraken.AppendInstruments(b, list, page.Snapshot)
}
