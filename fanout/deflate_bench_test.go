package fanout

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// BenchmarkDeflate is what compressing a delta of so many levels costs, and what it
// saves: the table of docs/performance.md. The server does it once a frame, whoever
// is sent it.
func BenchmarkDeflate(b *testing.B) {
	for codec := range proto.NumCodecs {
		for _, levels := range []int{1, 4, 20, 200, 2000} {
			frames := deltaFrames(codec, levels)
			for _, level := range []int{1, 3, 6, 9} {
				b.Run(fmt.Sprintf("codec=%v/levels=%d/level=%d", codec, levels, level), func(b *testing.B) {
					d := deflater{level: level, least: 1}
					in, out := 0, 0
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						f := frames[i%len(frames)]
						in += len(f)
						out += len(d.frames(f))
					}
					b.ReportMetric(float64(in)/float64(b.N), "B/frame")
					b.ReportMetric(float64(out)/float64(b.N), "B/compressed")
				})
			}
		}
	}
}

// deltaFrames returns the frames of busyDeltas.
func deltaFrames(codec proto.Codec, levels int) (frames [][]byte) {
	form := proto.TopicForm{Topic: 7, Exponents: proto.Exponents{Price: -2, Qty: -8}}
	var x encoder
	for _, d := range busyDeltas(levels) {
		frames = append(frames, append([]byte(nil), x.finish(opCodeOf(codec), codec.AppendDelta(x.begin(), form, d))...))
	}
	return frames
}

// busyDeltas returns deltas as a busy book makes them: prices near one another,
// quantities of any size, a quarter of the levels deleted.
func busyDeltas(levels int) (deltas []*proto.Delta) {
	r := rand.New(rand.NewPCG(1, uint64(levels)))
	side := func(n int, step int64) (list []proto.Level) {
		price := int64(6_160_201)
		for range n {
			price += step * (1 + r.Int64N(30))
			list = append(list, proto.Level{Price: price, Qty: r.Int64N(500_000_000) * min(1, r.Int64N(4))})
		}
		return list
	}
	for i := range int64(64) {
		at := 1_760_000_000_000_000_000 + r.Int64N(1e15)
		deltas = append(deltas, &proto.Delta{
			PrevSeq: 123_456 + i, Seq: 123_457 + i, Hash: r.Uint32(), Bids: side((levels+1)/2, -1), Asks: side(levels/2, 1),
			Times: proto.Times{Venue: at, Kafka: at + r.Int64N(1e7), Published: at + r.Int64N(2e7)},
		})
	}
	return deltas
}

func opCodeOf(codec proto.Codec) ws.OpCode { return framingOf(codec).opCode() }
