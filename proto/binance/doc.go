// Package binance writes what books and trades are in the messages of Binance's
// spot market streams and REST API, and reads the requests of its clients.
// docs/dialects.md says where the two protocols differ and what becomes of that.
//
// An update id is a seq: the Kafka offset of the last record applied. A delta of
// (PrevSeq, Seq] has U = PrevSeq+1 and u = Seq, so that consecutive ones chain as
// clients demand, a merged one is only wider, and lastUpdateId of a snapshot lies
// in or before the delta that follows it.
package binance
