package proto

// Bounds of what is decoded. Each is checked before anything of that size is
// allocated; what exceeds one is refused, whole.
const (
	// MaxEvents bounds the events of one record. So many take 26 MiB of memory at
	// the most beside their levels and orders, until the next record.
	MaxEvents = 65_536
	// MaxRecordLevels bounds the levels and orders of one record, all its events
	// together. A greater snapshot comes in parts (Events.more).
	MaxRecordLevels = 1 << 20
	// MaxSymbolBytes bounds a symbol.
	MaxSymbolBytes = 64
	// MaxFeedBytes and MaxSessionBytes bound the names of a feed and a session.
	MaxFeedBytes    = 64
	MaxSessionBytes = 64
	// MaxNameBytes bounds the name of an instrument for people.
	MaxNameBytes = 128
	// MaxAssetBytes bounds the names of what an instrument trades and is paid in.
	MaxAssetBytes = 32

	// MaxRequestItems bounds the items, or topic numbers, of one request. A
	// server may grant fewer (hello.limits.max_items).
	MaxRequestItems = 4096
	// MaxPastTrades bounds the past trades that a subscription begins with, and those
	// that are kept for that.
	MaxPastTrades = 100
	// MaxPingBytes bounds what a ping carries.
	MaxPingBytes = 64
	// MaxTokenBytes bounds a token.
	MaxTokenBytes = 8192

	// maxJSONMembers bounds the members of one JSON object, known or not.
	maxJSONMembers = 64
	// maxFrameLevels bounds the levels of one side of a JSON frame that a client
	// decodes.
	maxFrameLevels = MaxRecordLevels
)
