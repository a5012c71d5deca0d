package fanout

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// Topics open, linger and close while clients come and go and books change; every
// book that a client holds is the server's at its seq, and nothing is left behind.
func TestChurnLeavesNothingBehindAndNoBookWrong(t *testing.T) {
	symbols := []string{"A", "B", "C", "D"}
	r := newRig(t, func(c *Config) {
		c.Shards, c.Now, c.TopicLinger, c.RequestsPerSecond = 3, time.Now, time.Nanosecond, 1_000_000
	}, symbols...)
	var readers sync.WaitGroup
	for i := range 6 {
		c := r.dial(proto.Codec(0))
		readers.Add(1)
		go func() {
			defer readers.Done()
			random := seeded(uint64(i))
			models := make(map[uint32]*model)
			for id := uint32(1); id < 150; id++ {
				for range 3 {
					r.book(symbols[random.IntN(len(symbols))]).publish(random, 5)
				}
				r.hub.expire() // as a sweep does, but often
				if len(models) == 0 || random.IntN(2) == 0 {
					c.ask(subscribeTo(id, &pb.SubscribeItem{Symbol: symbols[random.IntN(len(symbols))]}))
				} else {
					for topic := range models {
						c.ask(&pb.Request{Id: id, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
						break
					}
				}
				answered := false
				for !answered {
					f := c.next()
					ack := f.GetAck()
					switch {
					case ack != nil && ack.Ended:
						delete(models, ack.Topic)
						answered = true
					case ack != nil:
						models[ack.Topic] = newModel(t, ack)
						answered = true
					case f.GetError() != nil:
						if code := f.GetError().Code; code != pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED {
							t.Errorf("refused: %v", code)
						}
						answered = true
					default:
						m := models[topicOf(f)]
						if m == nil {
							panic(fmt.Sprintf("frame of a topic without an ack: %v", f))
						}
						m.apply(f)
					}
				}
			}
			_ = c.conn.Close()
		}()
	}
	readers.Wait()
	r.until("the end of all", func() bool {
		r.hub.expire()
		s := r.hub.Stats()
		return s.Conns == 0 && s.Subscriptions == 0 && s.Topics == 0 && s.RingBytes == 0 && s.PinnedBytes == 0
	})
}

func topicOf(f *pb.Frame) uint32 {
	switch {
	case f.GetSnapshot() != nil:
		return f.GetSnapshot().Topic
	case f.GetDelta() != nil:
		return f.GetDelta().Topic
	case f.GetStatus() != nil:
		return f.GetStatus().Topic
	case f.GetKeepalive() != nil:
		return f.GetKeepalive().Topic
	}
	return 0
}
