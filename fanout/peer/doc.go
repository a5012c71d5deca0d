// Package peer tells whose a connection is, and bounds what one address may have.
//
// Clients are told apart by their address: IPv4 whole, IPv6 by its /64, as whoever
// has one of those has all of it. Behind proxies the address comes from what these
// say (the PROXY protocol, version 2; X-Forwarded-For or Forwarded), and only where
// the one who says it is trusted: the client is the rightmost hop that is not.
//
// Memory is bounded: Counts has an entry only for who has connections, Rates forgets
// those who asked longest ago.
package peer
