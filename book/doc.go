// Package book keeps the order books: one per symbol, by level or by order, with
// the views that others follow. It has no goroutine, lock, clock or I/O: a book
// is a function of the log alone, and the caller holds the partition's lock.
//
// # One record
//
//	admit (chain.go)   is it new, does it follow? duplicates and older generations end here
//	hold  (held.go)    `more`: kept aside until the last record of the event
//	apply (apply.go)   event by event, on the book itself, noting each level touched
//	close (book.go)    trim, crossed check
//	finish (state.go)  deltas or a reset to the views, then the status if it changed
//
// A record is shown whole or not at all, since views are told only by finish. One
// that is refused takes the book with it: the book is emptied and recovering, so
// nothing half applied is ever seen, and no undo is needed.
//
// # Decisions
//
//   - A record refused for an event that touches no book (a trade without a
//     quantity) costs only itself, if no other event of its group touches the
//     book; otherwise the group is lost to the book as well.
//   - While a book is not whole its level and order events are skipped and
//     counted. Its trades, phase, instrument and source sequence go on.
//   - Instruments, phases and an instrument's end in a refused record still count:
//     they are statements of their own, and the mantissas of the snapshot to come
//     are in the exponents that they set. Its trades do not.
//   - seq is that of the last record applied. A refused, held, duplicate or ignored
//     record leaves it. In a book that is not whole every record applied moves it.
//   - Within one record the delta precedes the status, which has the same seq.
//   - A snapshot whose source sequence is behind the newest seen is ignored also by
//     a book that is recovering: it lacks the events that were skipped meanwhile.
//   - The records of one event may share a source sequence only where they are parts
//     of a snapshot. Otherwise the last of them cannot be told from a repetition:
//     it is refused, and the book is recovering.
//   - A session ends an event that was held back unfinished, as the rest of it never
//     came. Going back to the session just left is a hole: either two producers send
//     at once, or old records come again. The session of a record without numbers
//     says nothing.
//   - A change under a number seen before, but later by the venue's time than all
//     that was seen, is no repetition: the source counts anew, and the book is
//     recovering.
//   - A change of exponents empties the book, which is then not whole until a
//     snapshot or a session start. A whole book without levels stays whole.
//   - A status goes out whenever state, reason, phase, indicative, locked or crossed
//     changed over a record. A hole in the source sequence within an event of
//     several records is told at once: what is held of it is void.
//   - What is known of the session is as whole as a record: a draft until the record
//     is applied. Of a refused one its beginning still counts; see session.go.
//   - The source sequence of a refused record counts as seen: a snapshot from before
//     it would lack it. A source that numbers wildly leaves its book recovering
//     until its session changes, which is long, but never wrong.
//   - Groups keep the increment, not its mantissa: after a change of exponents the
//     view goes on with the same increment, or ends (bad_view) where the new prices
//     cannot be grouped by it.
//   - A group whose sum or price does not fit 64 bits is never shown wrong: the views
//     of that increment are recovering, overflow, until all fit. A group's order
//     count is 0, not known, as soon as that of one of its levels is.
//   - partial is said by a status of its own when it changes on a live view; see
//     partial.go for what is known.
//   - A book that becomes whole again shows it by Reset alone: the snapshot carries
//     state and phase. Trades were never interrupted, so a view of trades is told
//     by a status; it is reset only after catching up, a change of exponents or a
//     new epoch.
package book
