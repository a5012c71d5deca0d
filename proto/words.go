package proto

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/proto/pb"
)

// Every value of an enum has one word, in lower case without the enum's prefix
// (STATE_CATCHING_UP: "catching_up"): the same in JSON, metrics, logs and
// documents. The zero value has the word "none", which JSON leaves out.

// noWord stands for numbers that are not values of their enum.
const noWord = "invalid"

type enumWords struct {
	words   []string // by number
	numbers map[string]protoreflect.EnumNumber
}

func wordsOf(d protoreflect.EnumDescriptor) *enumWords {
	values := d.Values()
	w := &enumWords{words: make([]string, values.Len()), numbers: make(map[string]protoreflect.EnumNumber)}
	prefix := strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
	w.words[0], w.numbers["none"] = "none", 0
	for i := range values.Len() {
		v := values.Get(i)
		if v.Number() != 0 {
			word := strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
			w.words[v.Number()] = word
			w.numbers[word] = v.Number()
		}
	}
	return w
}

func (w *enumWords) word(number int) string {
	if number < 0 || number >= len(w.words) {
		return noWord
	}
	return w.words[number]
}

var (
	aggressorWords      = wordsOf(pb.Aggressor(0).Descriptor())
	channelWords        = wordsOf(pb.Channel(0).Descriptor())
	endReasonWords      = wordsOf(pb.EndReason(0).Descriptor())
	errorCodeWords      = wordsOf(pb.ErrorCode(0).Descriptor())
	instrumentTypeWords = wordsOf(pb.InstrumentType(0).Descriptor())
	phaseWords          = wordsOf(pb.Phase(0).Descriptor())
	policyWords         = wordsOf(pb.Policy(0).Descriptor())
	reasonWords         = wordsOf(pb.Reason(0).Descriptor())
	retryWords          = wordsOf(pb.Retry(0).Descriptor())
	snapshotReasonWords = wordsOf(pb.SnapshotReason(0).Descriptor())
	stateWords          = wordsOf(pb.State(0).Descriptor())
)

// wordsByEnum finds the words of the enums that frames and requests use.
var wordsByEnum = map[protoreflect.FullName]*enumWords{
	pb.Aggressor(0).Descriptor().FullName():      aggressorWords,
	pb.Channel(0).Descriptor().FullName():        channelWords,
	pb.EndReason(0).Descriptor().FullName():      endReasonWords,
	pb.ErrorCode(0).Descriptor().FullName():      errorCodeWords,
	pb.InstrumentType(0).Descriptor().FullName(): instrumentTypeWords,
	pb.Phase(0).Descriptor().FullName():          phaseWords,
	pb.Policy(0).Descriptor().FullName():         policyWords,
	pb.Reason(0).Descriptor().FullName():         reasonWords,
	pb.Retry(0).Descriptor().FullName():          retryWords,
	pb.SnapshotReason(0).Descriptor().FullName(): snapshotReasonWords,
	pb.State(0).Descriptor().FullName():          stateWords,
}

// AggressorWord returns the word of an aggressor.
func AggressorWord(a Aggressor) string { return aggressorWords.word(int(a)) }

// ChannelWord returns the word of a channel.
func ChannelWord(c Channel) string { return channelWords.word(int(c)) }

// ErrorCodeWord returns the word of an error code.
func ErrorCodeWord(c pb.ErrorCode) string { return errorCodeWords.word(int(c)) }

// InstrumentTypeWord returns the word of a kind of contract (Instrument.Type).
func InstrumentTypeWord(t uint8) string { return instrumentTypeWords.word(int(t)) }

// PhaseWord returns the word of a phase.
func PhaseWord(p Phase) string { return phaseWords.word(int(p)) }

// PolicyWord returns the word of a policy towards slow readers.
func PolicyWord(p pb.Policy) string { return policyWords.word(int(p)) }

// ReasonWord returns the word of a reason.
func ReasonWord(r Reason) string { return reasonWords.word(int(r)) }

// RetryWord returns the word of a retry rule.
func RetryWord(r pb.Retry) string { return retryWords.word(int(r)) }

// SnapshotReasonWord returns the word of a snapshot's reason.
func SnapshotReasonWord(r SnapshotReason) string { return snapshotReasonWords.word(int(r)) }

// StateWord returns the word of a state.
func StateWord(s State) string { return stateWords.word(int(s)) }

// ChannelOf returns the channel of a word, as in the query of a URL; 0 if there
// is none.
func ChannelOf(word string) Channel { return Channel(channelWords.numbers[word]) }
