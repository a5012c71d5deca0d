// Package ring is the broadcast ring of one topic: one writer, any number of
// readers, nobody waits for anybody.
//
//	position   1      …      oldest ─────────────────── head     head+1
//	           └── Lapped ──┘└────────── OK ───────────────┘└── Empty ──
//
// The writer publishes immutable entries under consecutive positions. A reader
// is nothing but a position it keeps for itself; the ring does not know its
// readers, so publishing costs the same for none and for a million of them.
//
// # Lagging
//
// The ring keeps the newest entries and lets go of the oldest, whoever has yet
// to read them. A reader that asks for a position which is gone is told Lapped,
// never given another entry in its place. That is no error: a reader that was
// lapped has been slower than the limits of the ring allow, and decides for
// itself what it does about it (in this project: take the topic's snapshot and
// follow the ring from there). Skipping to Oldest without that would leave a
// hole in a chain of deltas.
//
// # Limits
//
// An entry is given up for one of four reasons: the slots are full and may not
// grow (Config.MaxEntries, Config.Window), the ring holds more than
// Config.MaxBytes, all rings of a Budget together hold more than its limit, or
// the owner calls Expire or Release. Config.BeforeGiveUp runs before that.
//
// # Why it is safe
//
// Slots are atomic pointers to entries that carry their own position, so that a
// reader sees a whole entry and knows whether it is the one it asked for. The
// writer stores the slot first and the head second; a reader loads the head
// first and the slot array second. Hence a position at or below the head is
// either in the array the reader sees or was given up. Growing copies the
// pointers to a new array and never touches the old one again: a reader that
// still holds the old array finds what was there when it loaded it.
package ring
