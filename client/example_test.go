package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// A program that prints the best bid and ask of a symbol for ever.
func ExampleClient() {
	c, err := client.New(client.Config{URL: "ws://localhost:8080/v1/stream"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Subscribe(client.Item{Symbol: "SIM:BTC-USD", Depth: 10}); err != nil {
		log.Fatal(err)
	}
	show := func(b *client.Book) {
		if b.State() != proto.Live {
			fmt.Println("not live:", proto.ReasonWord(b.Reason()))
			return
		}
		bid, _ := b.Best(proto.Bid)
		ask, _ := b.Best(proto.Ask)
		x := b.Exponents()
		fmt.Printf("%s | %s\n", proto.AppendDecimal(nil, bid.Price, x.Price), proto.AppendDecimal(nil, ask.Price, x.Price))
	}
	for event, err := range c.Events(context.Background()) {
		if err != nil {
			log.Fatal(err) // connecting again would not help
		}
		switch e := event.(type) {
		case *client.BookSet:
			show(e.Book)
		case *client.BookChanged:
			show(e.Book)
		case *client.StatusChanged:
			show(e.Sub.Book())
		case *client.Disconnected:
			log.Printf("%v; again in %v", e.Err, e.RetryIn)
		case *client.Refused:
			log.Printf("%s: %s", e.Sub.Item().Symbol, e.Error.GetMessage())
		}
	}
}

// Where an order stands in its queue, in a book that a subscription to the channel
// orders keeps (client.Item{Channel: proto.ChannelOrders}).
func ExampleBook_Ahead() {
	orders := proto.Orders{Bids: []proto.RankedOrder{
		{ID: 101, Price: 10000, Qty: 200, RankSeq: 9}, {ID: 104, Price: 10000, Qty: 50, RankSeq: 12},
	}}
	b := client.NewBookByOrder()
	b.ApplySnapshot(&proto.Snapshot{State: proto.Live, Orders: orders, Hash: proto.HashOrders(&orders)})
	count, qty, _ := b.Ahead(104)
	fmt.Println(count, "order ahead, of quantity", qty)
	// Output: 1 order ahead, of quantity 200
}
