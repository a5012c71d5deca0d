// Package poll is readiness of descriptors for a goroutine that serves very many
// of them: epoll by way of github.com/mailru/easygo/netpoll, one wake-up and one
// deadline for each poller, and the two system calls that move bytes. Linux only.
//
//	Wake (any goroutine) ──> eventfd ─┐
//	WakeAt (the loop)    ──> timerfd ─┼─> epoll ──> loop goroutine ──> Turn
//	sockets              ─────────────┘                        └─────> Handler.Ready
//
// A Poller has one goroutine, easygo's loop. Everything it calls (Ready, Turn)
// runs there, one after the other, so that what a Poller serves needs no locks.
// Readiness is level-triggered for sockets: what is not read is reported again.
//
// # Rules for handlers
//
// Descriptors are small integers that the kernel uses again at once. Therefore:
//
//   - Del before Close. A descriptor closed first leaves its callback behind, and
//     the next socket with that number is refused with ErrRegistered.
//   - A handler may be called once more after its Del. The loop fetches the
//     callbacks of a whole batch before it calls the first, so a socket closed by
//     one callback can still be reported by a later one of the same batch, when
//     its number may already belong to somebody else. So a handler keeps a word
//     that says it is closed, and looks at it first (below). Events never reach a
//     successor: they go to the handler that was registered when they were fetched.
//   - EPOLLERR and EPOLLHUP are reported whether asked for or not, and again and
//     again. Readable and Writable are both true of them, so that a handler which
//     does what it is asked to do meets the error in its system call and closes.
//     A handler that ignores them spins.
//   - A descriptor has one closer, the goroutine of its poller.
//
// The idiom:
//
//	func (c *conn) Ready(events poll.Events) {
//		if c.closed { // by an earlier callback of this batch
//			return
//		}
//		…
//	}
//
// # The end
//
// Close ends the loop; until then nothing is lost. easygo then calls every
// remaining callback, on the goroutine of Close, with an event of its own; Poller
// keeps that from handlers, which would otherwise run on two goroutines. Close
// sockets before, in a turn. A loop that ends by itself (a wait error, which
// nobody has seen) is reported through Config.OnFatal, and is for good.
//
// # Processors
//
// A loop that waits in epoll_wait holds its P until the runtime takes it back.
// GOMAXPROCS below pollers + 1 makes everything else wait for that.
package poll
