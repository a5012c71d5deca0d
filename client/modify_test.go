package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestModifiedSubscriptionGoesOnUnderItsNewTopic(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A", Depth: 10})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, func(a *pb.Ack) { a.Depth = 10 })
			p.snapshot(7, 10, 1)
			req := p.request()
			items := req.GetModify().GetItems()
			if len(items) != 1 || items[0].Topic != 7 || items[0].GetDepth() != 20 || items[0].GetIntervalMs() != 100 {
				t.Errorf("asked %v", req)
			}
			p.ack(req.Id, 0, 8, func(a *pb.Ack) { a.Replaces, a.Depth, a.IntervalMs = 7, 20, 100 })
			p.delta(7, 10, 11, 2, 0) // was on its way
			p.snapshot(8, 12, 3)
			req = p.request()
			p.frame(&pb.Frame{Body: &pb.Frame_Error{Error: &pb.Error{Id: req.Id, Item: new(uint32), Topic: 8, Code: pb.ErrorCode_ERROR_CODE_BAD_VIEW, Retry: pb.Retry_RETRY_NEVER}}})
			p.delta(8, 12, 13, 4, 0) // it goes on
			req = p.request()
			p.ack(req.Id, 0, 8, func(a *pb.Ack) { a.Depth, a.IntervalMs = 20, 200 }) // the same topic
			p.delta(8, 13, 14, 5, 0)
			p.net.Close()
			p = s.greet()
			id, items2 := p.subscribe(1)
			if items2[0].Depth != 20 || items2[0].IntervalMs != 200 || items2[0].Resume == nil {
				t.Errorf("asked again for %v", items2)
			}
			p.ack(id, 0, 9, func(a *pb.Ack) { a.Resumed = true })
			p.closed()
		})
		var got []string
		modify := func(item Item) {
			if err := c.Modify(sub, item); err != nil {
				t.Error(err)
			}
		}
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Granted:
				got = append(got, fmt.Sprint("granted ", e.Ack.Topic))
			case *Refused:
				got = append(got, fmt.Sprint("refused ", e.RetryIn < 0))
			case *BookSet:
				got = append(got, fmt.Sprint("set ", bidOf(sub)))
				if bidOf(sub) == 1 {
					modify(Item{Symbol: "SIM:A", Depth: 20, Interval: 100 * time.Millisecond})
				} else {
					modify(Item{Symbol: "SIM:A", Depth: 20, Group: "0.001"})
				}
			case *BookChanged:
				got = append(got, fmt.Sprint("changed ", bidOf(sub)))
				if bidOf(sub) == 4 {
					modify(Item{Symbol: "SIM:A", Depth: 20, Interval: 200 * time.Millisecond})
				}
			}
			return len(got) > 0 && got[len(got)-1] == "granted 9"
		})
		wait()
		want := "[granted 7 set 1 granted 8 set 3 refused true changed 4 granted 8 changed 5 granted 9]"
		if err != nil || fmt.Sprint(got) != want || sub.Ended() {
			t.Errorf("err %v\n got %v\nwant %v", err, got, want)
		}
	})
}
