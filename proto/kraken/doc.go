// Package kraken writes what books, trades, tickers and instruments are in the
// messages of Kraken's public WebSocket API, version 2, and of its REST API, and
// reads the requests of its clients. docs/dialects.md says where the two protocols
// differ and what becomes of that.
//
// Prices and quantities are JSON numbers with exactly as many decimals as the
// symbol's exponents have: a client that keeps the text and one that formats to
// the precisions of the instrument channel come to the same checksum.
package kraken
