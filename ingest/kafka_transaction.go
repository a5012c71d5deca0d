package ingest

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// abortedTransactions tells the batches of a fetch that are not to be handed out:
// markers, which say that a transaction ended, and records of transactions that
// were aborted. A fetch asks for committed records only, so the broker's answer
// ends before the first transaction that is still open, and names each aborted
// one that has an offset between the fetch's and the answer's end, also where it
// began before. So nothing need be remembered from answer to answer.
type abortedTransactions struct {
	later  []kmsg.FetchResponseTopicPartitionAbortedTransaction // by first offset
	active []int64                                              // producers whose transaction at this offset was aborted
}

func newAborted(list []kmsg.FetchResponseTopicPartitionAbortedTransaction) abortedTransactions {
	slices.SortFunc(list, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return int(min(1, max(-1, a.FirstOffset-b.FirstOffset)))
	})
	return abortedTransactions{later: list}
}

// drop reports whether the records of h, the next batch of the answer, are not
// to be handed out.
func (a *abortedTransactions) drop(h *kmsg.RecordBatch) bool {
	last := h.FirstOffset + int64(h.LastOffsetDelta)
	for len(a.later) > 0 && a.later[0].FirstOffset <= last {
		if id := a.later[0].ProducerID; !slices.Contains(a.active, id) {
			a.active = append(a.active, id)
		}
		a.later = a.later[1:]
	}
	if h.Attributes&control != 0 { // ends its producer's transaction, whichever way
		if i := slices.Index(a.active, h.ProducerID); i >= 0 {
			a.active = slices.Delete(a.active, i, i+1)
		}
		return true
	}
	return h.Attributes&transactional != 0 && slices.Contains(a.active, h.ProducerID)
}
