package main

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// channel is what all connections are subscribed to by the server.
const channel = "bench"

// newCentrifuge runs one node with its memory broker; clients speak its protobuf
// protocol.
func newCentrifuge(l net.Listener) (peer, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		return nil, err
	}
	serve(l, centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:  func(*http.Request) bool { return true },
		WriteTimeout: 20 * time.Second, // as the others have it; its default of 1 s ends connections on a busy processor
	}))
	return &centrifugeNode{node}, nil
}

type centrifugeNode struct{ node *centrifuge.Node }

func (c *centrifugeNode) broadcast(payload []byte) error {
	_, err := c.node.Publish(channel, payload)
	return err
}
