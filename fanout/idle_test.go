package fanout

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// Whichever topics are read and left, the one to give way is that of its kind which has
// been idle for longest.
func TestTopicThatIsIdleForLongestGivesWay(t *testing.T) {
	view := func(group string) proto.View {
		by, err := proto.ParseGroup(group)
		if err != nil {
			t.Fatal(err)
		}
		return proto.View{Depth: 10, Group: by}
	}
	keys := []proto.TopicKey{
		{Symbol: btc, Channel: proto.ChannelBook}, {Symbol: eth, Channel: proto.ChannelBook},
		{Symbol: btc, Channel: proto.ChannelBook, View: view("1")}, {Symbol: btc, Channel: proto.ChannelBook, View: view("2")},
		{Symbol: eth, Channel: proto.ChannelBook, View: view("1")},
		{Symbol: "SIM:*", Channel: proto.ChannelInstruments}, {Symbol: "*", Channel: proto.ChannelInstruments},
		{Symbol: btc, Channel: proto.ChannelInstruments},
	}
	kinds := []topicKind{{}, {symbol: btc}, {symbol: eth}, {pattern: true}}
	rapid.Check(t, func(t *rapid.T) {
		var idle idleTopics
		topics := make([]*Topic, len(keys))
		for i, key := range keys {
			topics[i] = &Topic{key: key}
		}
		var naive []*Topic // that are idle
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			topic := topics[rapid.IntRange(0, len(topics)-1).Draw(t, "topic")]
			if at := slices.Index(naive, topic); at >= 0 {
				idle.remove(topic)
				naive = slices.Delete(naive, at, at+1)
			} else {
				idle.remove(topic) // is not there
				idle.add(topic)
				naive = append(naive, topic)
			}
			for _, kind := range kinds {
				var want *Topic
				if at := slices.IndexFunc(naive, func(t *Topic) bool { return kind == topicKind{} || kindOf(t.key) == kind }); at >= 0 {
					want = naive[at]
				}
				if got := idle.first(kind); got != want {
					t.Fatalf("of %v %v gives way, want %v", kind, got, want)
				}
			}
		}
		if len(idle.kinds) > len(kinds) {
			t.Errorf("%d kinds are kept", len(idle.kinds))
		}
	})
}
