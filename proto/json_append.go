package proto

import "strconv"

// The hot frames, written by hand: equal to what AppendJSONFrame makes of the
// generated message, without allocating.

func appendJSONInt(dst []byte, v int64) []byte {
	return append(strconv.AppendInt(append(dst, '"'), v, 10), '"')
}

func appendJSONUint(dst []byte, v uint64) []byte {
	return append(strconv.AppendUint(append(dst, '"'), v, 10), '"')
}

func appendJSONDecimal(dst []byte, mantissa int64, exponent int8) []byte {
	return append(AppendDecimal(append(dst, '"'), mantissa, exponent), '"')
}

// appendJSONQty writes the quantity of a level or order: 0 means gone.
func appendJSONQty(dst []byte, qty int64, exponent int8) []byte {
	if qty == 0 {
		return append(dst, `"0"`...)
	}
	return appendJSONDecimal(dst, qty, exponent)
}

func appendJSONLevels(dst []byte, levels []Level, counts bool, x Exponents) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONDecimal(append(dst, '['), levels[i].Price, x.Price), ',')
		dst = appendJSONQty(dst, levels[i].Qty, x.Qty)
		if counts {
			dst = strconv.AppendUint(append(dst, ','), uint64(levels[i].Count), 10)
		}
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// appendJSONTimes appends the member ts, unless nothing is known.
func appendJSONTimes(dst []byte, t Times) []byte {
	if t == (Times{}) {
		return dst
	}
	dst = append(dst, `,"ts":{`...)
	begin := len(dst)
	dst = appendJSONTime(dst, `,"venue_first":`, wireVenueFirst(t))
	dst = appendJSONTime(dst, `,"venue":`, t.Venue)
	dst = appendJSONTime(dst, `,"kafka":`, t.Kafka)
	dst = appendJSONTime(dst, `,"published":`, t.Published)
	dst = append(dst[:begin], dst[begin+1:]...) // the first comma
	return append(dst, '}')
}

func appendJSONTime(dst []byte, name string, v int64) []byte {
	if v == 0 {
		return dst
	}
	return appendJSONInt(append(dst, name...), v)
}

// appendJSONHead appends the members that the frames of a topic begin with.
func appendJSONHead(dst []byte, head string, topic uint32) []byte {
	return strconv.AppendUint(append(dst, head...), uint64(topic), 10)
}

func appendJSONWord(dst []byte, name string, words *enumWords, number uint8) []byte {
	if number == 0 {
		return dst
	}
	return append(append(append(dst, name...), words.word(int(number))...), '"')
}

func appendJSONTrue(dst []byte, name string, v bool) []byte {
	if !v {
		return dst
	}
	return append(append(dst, name...), "true"...)
}

func appendJSONSeqs(dst []byte, prev, seq int64) []byte {
	dst = appendJSONInt(append(dst, `,"prev_seq":`...), prev)
	return appendJSONInt(append(dst, `,"seq":`...), seq)
}

// AppendJSONDelta appends d as a JSON frame under form.Exponents.
func AppendJSONDelta(dst []byte, form TopicForm, d *Delta) []byte {
	if d.Orders != nil {
		dst = appendJSONOrdersDelta(dst, form, d)
	} else {
		dst = appendJSONHead(dst, `{"type":"delta","topic":`, form.Topic)
		dst = appendJSONSeqs(dst, d.PrevSeq, d.Seq)
		dst = appendJSONLevels(append(dst, `,"bids":`...), d.Bids, form.Counts, form.Exponents)
		dst = appendJSONLevels(append(dst, `,"asks":`...), d.Asks, form.Counts, form.Exponents)
	}
	dst = appendHex(append(dst, `,"hash":`...), uint64(d.Hash), 8)
	dst = appendJSONTimes(dst, d.Times)
	return append(appendJSONMerged(dst, d.Merged), '}')
}

func appendJSONMerged(dst []byte, merged uint32) []byte {
	if merged = wireMerged(merged); merged == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, `,"merged":`...), uint64(merged), 10)
}

// appendJSONText appends a string, unless it is empty.
func appendJSONText(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return appendJSONString(append(dst, name...), text)
}

// appendJSONIndicative appends what is known of where an auction stands.
func appendJSONIndicative(dst []byte, in Indicative, x Exponents) []byte {
	if in.HasPrice {
		dst = appendJSONDecimal(append(dst, `,"indicative_price":`...), in.Price, x.Price)
	}
	if in.HasQty {
		dst = appendJSONDecimal(append(dst, `,"indicative_qty":`...), in.Qty, x.Qty)
	}
	return dst
}

// AppendJSONSnapshot appends s as a JSON frame under its own exponents.
func AppendJSONSnapshot(dst []byte, form TopicForm, reason SnapshotReason, s *Snapshot) []byte {
	dst = appendJSONHead(dst, `{"type":"snapshot","topic":`, form.Topic)
	dst = appendJSONText(dst, `,"symbol":`, s.Symbol)
	dst = appendHex(append(dst, `,"epoch":`...), s.Epoch, 16)
	dst = appendJSONInt(append(dst, `,"seq":`...), s.Seq)
	dst = appendJSONWord(dst, `,"reason":"`, snapshotReasonWords, uint8(reason))
	dst = appendJSONWord(dst, `,"state":"`, stateWords, uint8(s.State))
	dst = appendJSONWord(dst, `,"state_reason":"`, reasonWords, uint8(s.Reason))
	dst = appendJSONWord(dst, `,"phase":"`, phaseWords, uint8(s.Phase))
	dst = strconv.AppendInt(append(dst, `,"price_exponent":`...), int64(s.Exponents.Price), 10)
	dst = strconv.AppendInt(append(dst, `,"qty_exponent":`...), int64(s.Exponents.Qty), 10)
	dst = appendJSONLevels(append(dst, `,"bids":`...), s.Bids, form.Counts, s.Exponents)
	dst = appendJSONLevels(append(dst, `,"asks":`...), s.Asks, form.Counts, s.Exponents)
	dst = appendHex(append(dst, `,"hash":`...), uint64(s.Hash), 8)
	dst = appendJSONTimes(dst, s.Times)
	dst = appendJSONTrue(dst, `,"partial":`, s.Partial)
	dst = appendJSONTrue(dst, `,"locked":`, s.Locked)
	dst = appendJSONTrue(dst, `,"crossed":`, s.Crossed)
	if len(s.Orders.Bids) > 0 {
		dst = appendJSONOrders(append(dst, `,"bid_orders":`...), s.Orders.Bids, s.Exponents)
	}
	if len(s.Orders.Asks) > 0 {
		dst = appendJSONOrders(append(dst, `,"ask_orders":`...), s.Orders.Asks, s.Exponents)
	}
	return append(appendJSONIndicative(dst, s.Indicative, s.Exponents), '}')
}

// AppendJSONTrades appends t as a JSON frame under form.Exponents.
func AppendJSONTrades(dst []byte, form TopicForm, t *Trades) []byte {
	dst = appendJSONHead(dst, `{"type":"trades","topic":`, form.Topic)
	dst = appendJSONSeqs(dst, t.PrevSeq, t.Seq)
	dst = append(dst, `,"trades":[`...)
	for i := range t.Trades {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONTrade(dst, &t.Trades[i], form.Exponents)
	}
	dst = append(dst, ']')
	dst = appendJSONCount(dst, `,"missed":`, t.Missed)
	dst = appendJSONCount(dst, `,"missed_first":`, t.MissedFirst)
	dst = appendJSONCount(dst, `,"missed_last":`, t.MissedLast)
	dst = appendJSONTimes(dst, t.Times)
	dst = appendJSONTrue(dst, `,"history":`, t.History)
	return append(dst, '}')
}

func appendJSONCount(dst []byte, name string, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendJSONUint(append(dst, name...), v)
}

func appendJSONTrade(dst []byte, t *Trade, x Exponents) []byte {
	dst = appendJSONUint(append(dst, `{"ordinal":`...), t.Ordinal)
	dst = appendJSONCount(dst, `,"trade_id":`, t.ID)
	dst = appendJSONDecimal(append(dst, `,"price":`...), t.Price, x.Price)
	dst = appendJSONDecimal(append(dst, `,"qty":`...), t.Qty, x.Qty)
	dst = appendJSONWord(dst, `,"aggressor":"`, aggressorWords, uint8(t.Aggressor))
	dst = appendJSONTrue(dst, `,"hidden":`, t.Flags&TradeHidden != 0)
	dst = appendJSONTrue(dst, `,"auction":`, t.Flags&TradeAuction != 0)
	dst = appendJSONTrue(dst, `,"off_book":`, t.Flags&TradeOffBook != 0)
	dst = appendJSONTime(dst, `,"venue_time":`, t.VenueTime)
	dst = appendJSONTrue(dst, `,"correction":`, t.Flags&TradeCorrection != 0)
	dst = appendJSONTrue(dst, `,"cancellation":`, t.Flags&TradeCancellation != 0)
	return append(dst, '}')
}

// AppendJSONStatus appends s as a JSON frame under form.Exponents.
func AppendJSONStatus(dst []byte, form TopicForm, s *Status) []byte {
	dst = appendJSONHead(dst, `{"type":"status","topic":`, form.Topic)
	dst = appendJSONInt(append(dst, `,"seq":`...), s.Seq)
	dst = appendJSONWord(dst, `,"state":"`, stateWords, uint8(s.State))
	dst = appendJSONWord(dst, `,"reason":"`, reasonWords, uint8(s.Reason))
	dst = appendJSONWord(dst, `,"phase":"`, phaseWords, uint8(s.Phase))
	dst = appendJSONIndicative(dst, s.Indicative, form.Exponents)
	dst = appendJSONTrue(dst, `,"final":`, s.Final)
	dst = appendJSONText(dst, `,"new_symbol":`, s.NewSymbol)
	dst = appendJSONTrue(dst, `,"locked":`, s.Locked)
	dst = appendJSONTrue(dst, `,"crossed":`, s.Crossed)
	dst = appendJSONTimes(dst, s.Times)
	dst = appendJSONTrue(dst, `,"partial":`, s.Partial)
	return append(dst, '}')
}

// AppendJSONKeepalive appends k as a JSON frame.
func AppendJSONKeepalive(dst []byte, form TopicForm, k *Keepalive) []byte {
	dst = appendJSONHead(dst, `{"type":"keepalive","topic":`, form.Topic)
	dst = appendJSONInt(append(dst, `,"seq":`...), k.Seq)
	dst = appendHex(append(dst, `,"hash":`...), uint64(k.Hash), 8)
	dst = appendJSONUint(append(dst, `,"symbol_age_ms":`...), k.SymbolAgeMS)
	dst = appendJSONUint(append(dst, `,"feed_age_ms":`...), k.FeedAgeMS)
	dst = appendJSONTime(dst, `,"published":`, k.Published)
	return append(dst, '}')
}
