package client

import (
	"testing"

	"github.com/depthcast/depthcast/proto/pb"
)

// Who ends a subscription that is not answered yet and asks anew gets it: the server
// must have been told of the end first.
func TestSubscriptionMayFollowItselfBeforeItsAnswer(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		first := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		var second *Subscription
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			c.Unsubscribe(first)
			second = mustSubscribe(t, c, Item{Symbol: "SIM:A"})
			mustSubscribe(t, c, Item{Symbol: "SIM:B"})
			other, items := p.subscribe(1) // both have been heard of
			if items[0].Symbol != "SIM:B" {
				t.Errorf("%s was asked for while the server has it", items[0].Symbol)
			}
			p.ack(other, 0, 8, nil)
			p.ack(id, 0, 7, nil)
			req := p.request()
			if topics := req.GetUnsubscribe().GetTopics(); len(topics) != 1 || topics[0] != 7 {
				t.Errorf("got %v, want an unsubscribe of topic 7", req)
			}
			id, _ = p.subscribe(1)
			p.ack(req.Id, 0, 7, func(a *pb.Ack) { a.Ended = true })
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 5)
			p.closed()
		})
		err := loop(t, c, func(event Event) bool {
			set, ok := event.(*BookSet)
			return ok && set.Sub == second
		})
		wait()
		if err != nil || bidOf(second) != 5 {
			t.Errorf("err %v; bid %d", err, bidOf(second))
		}
	})
}
