package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/depthcast/depthcast/proto"
)

// addPartitions makes the lab's Kafka topic have count partitions.
func (l *lab) addPartitions(count int32) {
	l.t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.Brokers...))
	if err != nil {
		l.t.Fatal(err)
	}
	defer k.Close()
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = l.events, count
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(l.ctx, k)
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		l.t.Fatalf("adding partitions: %v, %+v", err, resp)
	}
}

// announced are the URLs, for clients and for operators, that the program
// announced last.
func (p *program) announced() (clients, operators string) {
	urls := regexp.MustCompile(`(?:in a browser|for operators) +(http://[^/\s]+)`).FindAllStringSubmatch(p.out.String(), -1)
	return urls[len(urls)-2][1], urls[len(urls)-1][1]
}

// stands says how a book is by HTTP, as "STATE REASON SEQ"; "" when it is not known.
func stands(base, symbol string) string {
	resp, err := http.Get(base + "/v1/symbols")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var all struct {
		Symbols []struct{ Symbol, State, Reason, Seq string }
	}
	if json.NewDecoder(resp.Body).Decode(&all) != nil {
		return ""
	}
	for _, s := range all.Symbols {
		if s.Symbol == symbol {
			return strings.Join(strings.Fields(s.State+" "+s.Reason+" "+s.Seq), " ")
		}
	}
	return ""
}

// A partition that is added is read, and a symbol whose key moves there has its
// book there: live from its next snapshot on, not before.
func TestEndToEndAddedPartitionIsRead(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 2)
	var stays, moves string
	for i := 0; stays == "" || moves == ""; i++ {
		if s := fmt.Sprintf("SIM:%d", i); g.home(s) == 0 {
			stays = s
		} else {
			moves = s
		}
	}
	g.partitions = 1 // until the other is there
	g.whole(stays, 5)
	g.whole(moves, 5)
	p := start(t, "serve", "--brokers", l.kafka.Brokers[0], "--kafka-topic", l.events, "--dead-letter-topic", "",
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--max-silence", "1h")
	first := p.prints(`in a browser +(http://\S+)`)
	for at, symbol := range []string{stays, moves} {
		want := fmt.Sprintf("live %d", at)
		p.holds(want, func() bool { return stands(first, symbol) == want })
	}
	l.addPartitions(2)
	p.holds("the program to start anew", func() bool { return strings.Count(p.out.String(), "Ctrl-C ends it") == 2 })
	second, admin := p.announced()
	p.holds("ready", func() bool { return answers(admin + "/readyz") })
	p.holds("the symbol that stays to be live", func() bool { return stands(second, stays) == "live 0" })
	g.partitions = 2
	g.restart() // another producer, which knows of the partition
	g.ends[0] = 2
	g.change(moves, proto.Bid, 99, 1)
	p.holds("the book that lacks a change to be known as such", func() bool { return stands(second, moves) == "recovering offset_gap 1" })

	// Start anew, as is advised once all producers know: now the symbol lives there.
	p.interrupt()
	if err := p.wait(); err != nil {
		t.Fatal(err)
	}
	p = start(t, "serve", "--brokers", l.kafka.Brokers[0], "--kafka-topic", l.events, "--dead-letter-topic", "",
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--max-silence", "1h")
	third := p.prints(`in a browser +(http://\S+)`)
	p.holds("the symbol to wait for a snapshot", func() bool { return stands(third, moves) == "recovering no_snapshot 0" })
	seq := g.whole(moves, 6)
	p.holds("the symbol to be live where it moved", func() bool { return stands(third, moves) == fmt.Sprint("live ", seq) })
}
