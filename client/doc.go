// Package client subscribes to a depthcast server and keeps its books.
//
//	c, err := client.New(client.Config{URL: "ws://localhost:8080/v1/stream"})
//	...
//	book, err := c.Subscribe(client.Item{Symbol: "SIM:BTC-USD", Depth: 10})
//	...
//	for event, err := range c.Events(ctx) {
//		...
//	}
//
// Everything happens in the loop over Events, on the caller's goroutine: it
// connects, reads, applies frames, checks sequence and state hash, asks for
// resyncs, answers pings, reconnects and resumes. The package starts no goroutine
// and holds no queue; the connection lives as long as the loop. What the loop
// yields, and every Book, may be looked at in the loop's body without a lock.
//
// A body that is slow slows the reading down, and nothing piles up here: the
// server then sends one net change for what was missed (or ends the connection of
// a reader that takes nothing for too long, and the client resumes). The books are
// right at every turn of the loop; only turns become fewer.
//
// A subscription to a pattern ("SIM:*") brings one for each symbol that matches, told by
// Granted and, over a lost connection, resumed by name; see Subscription.Pattern.
//
// A book of the channel orders is a Book too: beside its levels it has the orders
// of each, and tells how much stands before one in its queue (Book.Ahead).
//
// A subscription goes through these states; a lost connection leads back to the
// first, with what a resume needs:
//
//	waiting ──(subscribe sent)──> asked ──(ack)──> granted ──(unsubscribed, refused, final status)──> ended
//	   ^──(error that may be retried)──┘             │ ^
//	                                   gap, mismatch └─┘ snapshot; asked for again after a time-out
package client
