package book

import (
	"maps"
	"reflect"
	"testing"
)

// What becomes of each field of what an engine consists of when it is saved and
// restored. Whoever adds a field must say here which it is.
const (
	saved   = "saved"   // in proto.SymbolState or proto.SharedState, put back as it was
	derived = "derived" // made anew from what is saved
	wired   = "wired"   // of the engine or its configuration, not of the log
	told    = "told"    // by the partition beside the log, which tells it anew
	viewed  = "viewed"  // of views, which do not outlive a process: they begin with a snapshot
	inHand  = "in hand" // of the batch in hand: there is none when books are saved
	counted = "counted" // for metrics, from the start of the process
)

var fates = map[reflect.Type]map[string]string{
	reflect.TypeFor[Engine](): {
		"config": wired, "epoch": wired, "begun": wired, "complete": saved, "tainted": saved, "catchingUp": told, "stale": told,
		"books": derived, "list": derived, "ended": derived, "feeds": saved, "views": viewed, "lists": viewed, "parts": inHand,
		"touchedBids": inHand, "touchedAsks": inHand, "orderTouches": inHand, "ordersDelta": inHand, "delta": inHand, "newTrades": inHand, "newTicker": inHand,
		"newListing": inHand, "draft": inHand, "status": inHand, "heldBytes": derived, "skipped": counted, "offTick": counted,
	},
	reflect.TypeFor[feed](): {"name": saved, "time": saved, "stale": told},
	reflect.TypeFor[book](): {
		"engine": wired, "parts": wired, "chain": saved, "kind": saved, "whole": saved, "fresh": saved, "ended": saved,
		"unlisted": viewed, "reason": saved, "phase": saved, "broken": viewed, "tradesBroken": viewed, "exponents": saved,
		"tracking": inHand, "drafting": inHand, "kinds": derived, "limit": saved, "instrument": saved,
		"seq": saved, "feed": saved, "from": inHand, "need": saved, "applied": inHand, "bids": saved, "asks": saved,
		"views": viewed, "orderViews": viewed, "groupings": viewed, "told": derived, "indicative": saved, "times": saved, "held": saved, "trades": saved, "orders": saved,
		"epoch": saved, "symbol": saved, "restored": derived, "endReason": saved, "endedAt": saved, "newSymbol": saved, "session": saved,
	},
	reflect.TypeFor[chain](): {
		"offset": saved, "epoch": saved, "origin": saved, "generation": saved, "session": saved, "source": saved,
		"former": saved, "formerSource": saved, "venue": saved,
	},
	reflect.TypeFor[held]():   {"records": saved, "bytes": derived},
	reflect.TypeFor[trades](): {"ordinal": saved, "kept": saved, "next": derived, "most": wired, "staged": inHand, "fresh": inHand},
	reflect.TypeFor[side]():   {"mask": wired, "which": wired, "most": wired, "tracking": inHand, "floor": saved, "tick": derived, "offTick": counted, "levels": saved, "touched": inHand},
	reflect.TypeFor[level]():  {"qty": saved, "count": saved, "head": derived, "tail": derived},
	reflect.TypeFor[orders](): {
		"slab": saved, "free": derived, "index": derived, "most": wired, "rankSeq": inHand, "rankIndex": inHand, "touches": inHand,
	},
	reflect.TypeFor[order](): {
		"id": saved, "key": saved, "qty": saved, "rankSeq": saved, "rankIndex": saved, "next": derived, "prev": derived, "side": saved,
	},
}

func TestEveryFieldIsSavedOrNeedNotBe(t *testing.T) {
	for of, fields := range fates {
		left := maps.Clone(fields)
		for i := range of.NumField() {
			name := of.Field(i).Name
			if fields[name] == "" {
				t.Errorf("%s.%s: neither saved nor known to need no saving: decide, in Save and Restore, then here", of, name)
			}
			delete(left, name)
		}
		for name := range left {
			t.Errorf("%s has no field %s any more", of, name)
		}
	}
}
