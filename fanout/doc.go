// Package fanout delivers what books publish to very many subscribers of unequal
// speed, over WebSocket and, where that does not get through, as Server-Sent Events.
//
//	            under the partition's lock
//	book ──> Topic.Delta, … ──> ring of immutable entries ──┐
//	                      └──> cached snapshot, mark        │ wake: shards, never connections
//	                                                        v
//	sockets ──> shard (one goroutine): inbox → dirty topics → timers
//	               └ feed per topic ─ subscription (a cursor) ─ conn ──> one send a turn
//
// # Who owns what
//
//   - The holder of a partition's lock is the only writer of its topics: of their
//     rings, cached snapshots and marks. It never waits here. The topic of a pattern
//     is written by every partition: its single writer is the holder of Board.mu.
//   - A shard's goroutine owns its connections, subscriptions and feeds, and is the
//     only one that touches their descriptors.
//   - What an entry, a snapshot or a mark is was fixed when it was published. Their
//     frames are made by the first shard that needs them and stored by
//     compare-and-swap.
//   - The hub owns the list of topics (mu). Atomics join the three.
//
// # Locks
//
// In this order, and none is held while one before it is taken:
//
//	Topic.once, pairs.mu  >  symbolList.mu  >  the partition's lock  >  Board.mu  >  Hub.mu, mergedFrames.mu, mirror.mu, shard.mu, the poller's
//
// The last four are leaves: nothing is called under them. A shard takes the
// partition's lock to open or close a view (Books.OpenView, View.Close); the holder
// of that lock, publishing, takes only the poller's, to wake; before it, for a
// listing, those of the boards that match, each for the time of one entry. Hence a shard may wait
// for a partition, and no partition for a shard. A shard may also wait for another
// that is making the same net delta (merged.once) or snapshot (snapshot.making),
// which takes no lock but a leaf.
//
// # A subscription
//
//	state    has                         leaves it by
//	joining  no book, or a void one;     the snapshot begins to leave → live
//	         a reason for its snapshot   resume found its place → live, or none yet → waiting
//	                                     unsubscribe, final status, end of the connection → gone
//	live     a cursor in the ring        lapped, reset entry, resync, mismatch, or the
//	                                     snapshot is less than the net delta → joining
//	                                     unsubscribe, final status, end of the connection → gone
//	waiting  a place in shard.waiting:   the node caught up with it → live or joining
//	         the node is behind the      Config.BehindWait is over → joining
//	         client that resumes         unsubscribe, end of the connection → gone
//	apart    a cursor in the listings    unsubscribe, end of the connection → gone
//	         of a pattern (wildcard)
//	gone     nothing                     –
//
// While the book is recovering, a joining one is sent status entries only.
//
// A cursor moves past a frame when the frame begins to leave. The rest of a frame
// that is half sent goes before everything else, so that nothing can come between;
// it is kept as (frame, offset). Control frames (acks, errors, pongs, close) go
// next, data last.
//
// # An event stream
//
// A connection whose framing is framingEvents is served by the same rules. Its client
// asks with the URL of its HTTP request and never again; what it is sent is followed,
// where that is not the most of it, by an id, the resume token of where it then
// stands. Over HTTP/1.1 the descriptor is the client's. Over HTTP/2, and of a long
// poll, it is one end of a pair of sockets, whose other end a relay reads (relay.go).
//
// # A connection that is slow
//
// A full socket arms EPOLLOUT and leaves the cursors where they are. When it has
// room again, a subscription with the policy conflate gets one net delta from its
// cursor to the head for each run of deltas between status entries, or the cached
// snapshot where that is less, or a reset lies between, or the ring has gone past
// the cursor. With the policy drop it gets every entry, and its end at the first lap.
//
// # Bounds
//
// All are fields of Config, with what happens at each. Beside them: a shard's
// buffers (batch 256 KiB and MaxBytesPerTurn, arena 512 KiB, receive 64 KiB); two snapshots
// with their encodings per topic, of the view's size: one for each reason and form
// (framing, compressed or not) that was needed; per connection an incomplete message of
// at most twice MaxMessageBytes; eight resyncs at once.
package fanout
