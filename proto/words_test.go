package proto

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestEveryEnumValueOfTheClientProtocolHasItsWord(t *testing.T) {
	for name, info := range jsonMessages {
		for _, f := range info.fields {
			if f.fd.Enum() == nil {
				continue
			}
			if f.words == nil {
				t.Errorf("%s.%s: no words for %s", name, f.name, f.fd.Enum().FullName())
				continue
			}
			values := f.fd.Enum().Values()
			seen := map[string]bool{}
			for i := range values.Len() {
				n := values.Get(i).Number()
				word := f.words.word(int(n))
				if word == noWord || word == "" || word != strings.ToLower(word) || seen[word] || f.words.numbers[word] != n {
					t.Errorf("%s: word %q", values.Get(i).FullName(), word)
				}
				seen[word] = true
				if n != 0 && !strings.HasSuffix(strings.ToLower(string(values.Get(i).Name())), "_"+word) {
					t.Errorf("%s: word %q", values.Get(i).FullName(), word)
				}
			}
		}
	}
}

func TestWordsAreThoseOfTheDesign(t *testing.T) {
	for got, want := range map[string]string{
		StateWord(Live): "live", StateWord(Recovering): "recovering", StateWord(99): "invalid", StateWord(0): "none",
		ReasonWord(ReasonCatchingUp): "catching_up", ReasonWord(ReasonKafkaUnreachable): "kafka_unreachable",
		PhaseWord(PreOpen): "pre_open", ChannelWord(ChannelBook): "book", SnapshotReasonWord(SnapshotInitial): "initial",
		ErrorCodeWord(pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL): "unknown_symbol", RetryWord(pb.Retry_RETRY_NEVER): "never",
		PolicyWord(pb.Policy_POLICY_CONFLATE): "conflate", AggressorWord(AggressorSell): "sell", InstrumentTypeWord(1): "spot",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if ChannelOf("trades") != ChannelTrades || ChannelOf("") != 0 || ChannelOf("Book") != 0 {
		t.Error("ChannelOf")
	}
}

type pair struct{ plain, wire int }

// pairsByEnum has each plain constant beside the value of the wire that it stands
// for.
var pairsByEnum = map[protoreflect.EnumDescriptor][]pair{
	pb.Side(0).Descriptor(): {
		{int(Bid), int(pb.Side_SIDE_BID)},
		{int(Ask), int(pb.Side_SIDE_ASK)},
	},
	pb.State(0).Descriptor(): {
		{int(Live), int(pb.State_STATE_LIVE)},
		{int(Recovering), int(pb.State_STATE_RECOVERING)},
		{int(Stale), int(pb.State_STATE_STALE)},
	},
	pb.Phase(0).Descriptor(): {
		{int(PhaseUnknown), int(pb.Phase_PHASE_UNSPECIFIED)},
		{int(PreOpen), int(pb.Phase_PHASE_PRE_OPEN)},
		{int(Auction), int(pb.Phase_PHASE_AUCTION)},
		{int(Continuous), int(pb.Phase_PHASE_CONTINUOUS)},
		{int(Halted), int(pb.Phase_PHASE_HALTED)},
		{int(Closed), int(pb.Phase_PHASE_CLOSED)},
	},
	pb.Aggressor(0).Descriptor(): {
		{int(AggressorUnknown), int(pb.Aggressor_AGGRESSOR_UNSPECIFIED)},
		{int(AggressorBuy), int(pb.Aggressor_AGGRESSOR_BUY)},
		{int(AggressorSell), int(pb.Aggressor_AGGRESSOR_SELL)},
	},
	pb.Channel(0).Descriptor(): {
		{int(ChannelBook), int(pb.Channel_CHANNEL_BOOK)},
		{int(ChannelTrades), int(pb.Channel_CHANNEL_TRADES)},
		{int(ChannelOrders), int(pb.Channel_CHANNEL_ORDERS)},
		{int(ChannelTicker), int(pb.Channel_CHANNEL_TICKER)},
		{int(ChannelInstruments), int(pb.Channel_CHANNEL_INSTRUMENTS)},
		{int(ChannelCandles), int(pb.Channel_CHANNEL_CANDLES)},
	},
	pb.SnapshotReason(0).Descriptor(): {
		{int(SnapshotInitial), int(pb.SnapshotReason_SNAPSHOT_REASON_INITIAL)},
		{int(SnapshotResync), int(pb.SnapshotReason_SNAPSHOT_REASON_RESYNC)},
		{int(SnapshotLapped), int(pb.SnapshotReason_SNAPSHOT_REASON_LAPPED)},
		{int(SnapshotRecovered), int(pb.SnapshotReason_SNAPSHOT_REASON_RECOVERED)},
		{int(SnapshotInstrument), int(pb.SnapshotReason_SNAPSHOT_REASON_INSTRUMENT)},
		{int(SnapshotReset), int(pb.SnapshotReason_SNAPSHOT_REASON_RESET)},
	},
	pb.ClearKind(0).Descriptor(): {
		{int(clearSessionStart), int(pb.ClearKind_CLEAR_KIND_SESSION_START)},
		{int(clearReset), int(pb.ClearKind_CLEAR_KIND_RESET)},
	},
	pb.Reason(0).Descriptor(): {
		{int(ReasonNone), int(pb.Reason_REASON_UNSPECIFIED)},
		{int(ReasonNoSnapshot), int(pb.Reason_REASON_NO_SNAPSHOT)},
		{int(ReasonCatchingUp), int(pb.Reason_REASON_CATCHING_UP)},
		{int(ReasonSourceGap), int(pb.Reason_REASON_SOURCE_GAP)},
		{int(ReasonOffsetGap), int(pb.Reason_REASON_OFFSET_GAP)},
		{int(ReasonBadRecord), int(pb.Reason_REASON_BAD_RECORD)},
		{int(ReasonContradiction), int(pb.Reason_REASON_CONTRADICTION)},
		{int(ReasonCrossed), int(pb.Reason_REASON_CROSSED)},
		{int(ReasonChecksum), int(pb.Reason_REASON_CHECKSUM)},
		{int(ReasonSourceReset), int(pb.Reason_REASON_SOURCE_RESET)},
		{int(ReasonTruncated), int(pb.Reason_REASON_TRUNCATED)},
		{int(ReasonRecreated), int(pb.Reason_REASON_RECREATED)},
		{int(ReasonOverflow), int(pb.Reason_REASON_OVERFLOW)},
		{int(ReasonKafkaUnreachable), int(pb.Reason_REASON_KAFKA_UNREACHABLE)},
		{int(ReasonBehind), int(pb.Reason_REASON_BEHIND)},
		{int(ReasonSourceSilent), int(pb.Reason_REASON_SOURCE_SILENT)},
		{int(ReasonDelisted), int(pb.Reason_REASON_DELISTED)},
		{int(ReasonRenamed), int(pb.Reason_REASON_RENAMED)},
		{int(ReasonExpired), int(pb.Reason_REASON_EXPIRED)},
		{int(ReasonByLevel), int(pb.Reason_REASON_BY_LEVEL)},
		{int(ReasonBadView), int(pb.Reason_REASON_BAD_VIEW)},
	},
	pb.EndReason(0).Descriptor(): {
		{int(endReasonOf(ReasonDelisted)), int(pb.EndReason_END_REASON_DELISTED)},
		{int(endReasonOf(ReasonRenamed)), int(pb.EndReason_END_REASON_RENAMED)},
		{int(endReasonOf(ReasonExpired)), int(pb.EndReason_END_REASON_EXPIRED)},
	},
}

func TestPlainConstantsEqualTheWires(t *testing.T) {
	for enum, pairs := range pairsByEnum {
		wire := map[int]bool{0: true}
		for _, p := range pairs {
			if p.plain != p.wire {
				t.Errorf("%s: %d for %d", enum.Name(), p.plain, p.wire)
			}
			wire[p.wire] = true
		}
		if len(wire) != enum.Values().Len() {
			t.Errorf("%s: constants for %d of %d values", enum.Name(), len(wire), enum.Values().Len())
		}
	}
	kinds := (&pb.Event{}).ProtoReflect().Descriptor().Fields()
	names := map[EventKind]protoreflect.Name{
		EventSetLevels: "set_levels", EventAdd: "add", EventModify: "modify", EventReduce: "reduce", EventExecute: "execute",
		EventReplace: "replace", EventDelete: "delete", EventTrade: "trade", EventTradeCancel: "trade_cancel",
		EventTradeCorrect: "trade_correct", EventSnapshot: "snapshot", EventClear: "clear", EventInstrument: "instrument",
		EventInstrumentEnd: "instrument_end", EventStatistics: "statistics", EventPhase: "phase", EventHeartbeat: "heartbeat",
	}
	if len(names) != kinds.Len() {
		t.Errorf("%d kinds of events for %d fields", len(names), kinds.Len())
	}
	for kind, name := range names {
		if fd := kinds.ByName(name); fd == nil || EventKind(fd.Number()) != kind {
			t.Errorf("kind %d is not the field %s", kind, name)
		}
	}
}
