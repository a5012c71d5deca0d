// Package ingest reads market events from Kafka and applies them to books.
//
//	Source ──Next──> Partition ──Decode──> Codec
//	                     │ ──Apply──────> Books (book.Engine, by way of cmd)
//	                     └──Put─────────> DeadLetterQueue
//
// A Partition is one goroutine: it fetches, and then, holding its lock for a
// bounded number of records at a time, decodes, checks and applies each of them,
// which also publishes. Nobody else writes to its books; who wants to read them,
// or to open a view, does so inside Partition.Do.
//
// A start goes on from the partition's checkpoint, if there is one that fits the
// log, and a goroutine beside each partition writes the next ones: rounds of the
// states that changed, in transactions of a compacted Kafka topic (checkpoint*.go).
// A symbol's state is of an offset of its own at or behind the round's floor, from
// which the log is read again; records in between are passed over. What becomes of
// books is the same with and without.
//
// What can go wrong with the log, and what becomes of the partition's books:
//
//	a record refused by codec, check or book   its symbol's: recovering
//	a record whose symbol cannot be known      all: recovering (bad_record)
//	a record of a symbol that lives elsewhere  none is touched (wrong_partition), but where
//	                                           Kafka's partitioner puts it: its: recovering (offset_gap)
//	a partition added                          reading ends, to begin anew (ErrPartitionAdded)
//	offsets missing                            all: recovering (offset_gap), unless the
//	                                           Kafka topic is declared compacted
//	records gone before they were read         all: recovering (truncated)
//	the log lost its end                       all: recovering (truncated)
//	the Kafka topic recreated                  all: recovering (recreated), another epoch
//	not caught up with the log                 none is live (catching_up)
//	no answer from the broker                  all: stale (kafka_unreachable)
//	too many records behind                    all: stale (behind)
//	nothing from a feed                        its: stale (source_silent)
//
// Records of aborted transactions and the markers of all transactions are never
// seen, and are no missing offsets. What is written in a transaction, and whatever
// follows it, is read when it is committed.
//
// Every refused record is counted by its code, logged at a limited rate, and
// copied to the dead-letter Kafka topic.
package ingest
