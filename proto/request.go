package proto

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto/pb"
)

// RequestError refuses a whole request: what the error frame that answers it
// says. ID is the request's, 0 where it could not be read.
type RequestError struct {
	ID   uint32
	Code pb.ErrorCode
	Err  error
}

func (e *RequestError) Error() string { return e.Err.Error() }

func (e *RequestError) Unwrap() error { return e.Err }

func badRequest(id uint32, format string, args ...any) error {
	return &RequestError{ID: id, Code: pb.ErrorCode_ERROR_CODE_BAD_REQUEST, Err: fmt.Errorf(format, args...)}
}

// DecodeRequest decodes one binary message of a client, whose size the connection
// has bounded. The number of items is checked before they are allocated, the
// bounds of limits.go after. Symbols and views are the items' own matter. An error
// is always a *RequestError.
func DecodeRequest(msg []byte) (*pb.Request, error) {
	id, items, err := scanRequest(msg)
	if err != nil {
		return nil, badRequest(id, "%w", err)
	}
	if items > MaxRequestItems {
		return nil, tooManyItems(id, items)
	}
	req := &pb.Request{}
	if err := googleproto.Unmarshal(msg, req); err != nil {
		return nil, badRequest(id, "%w", ErrMalformed)
	}
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	return req, nil
}

func tooManyItems(id uint32, items int) error {
	return &RequestError{ID: id, Code: pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS,
		Err: fmt.Errorf("%d items in one request, at most %d", items, MaxRequestItems)}
}

// scanRequest reads the id of a request and counts what its lists hold.
func scanRequest(msg []byte) (id uint32, items int, err error) {
	var f, inner wireField
	for len(msg) > 0 {
		if msg, err = nextField(msg, &f); err != nil {
			return id, items, err
		}
		switch f.key {
		case 1<<3 | varintKey:
			id = uint32(f.value)
		case 2<<3 | bytesKey, 3<<3 | bytesKey, 4<<3 | bytesKey, 5<<3 | bytesKey:
			packed := f.key>>3 == 3 || f.key>>3 == 5 // topic numbers; else messages
			for body := f.bytes; len(body) > 0; {
				if body, err = nextField(body, &inner); err != nil {
					return id, items, err
				}
				switch {
				case packed && inner.key == 1<<3|bytesKey:
					items += countVarints(inner.bytes, false)
				case inner.key>>3 == 1:
					items++
				}
			}
		}
	}
	return id, items, nil
}

// checkRequest judges what both codecs have in common. Symbols and groups are for
// who takes the items: a bad one fails alone.
func checkRequest(req *pb.Request) error {
	items, called := 1, "items"
	switch b := req.Body.(type) {
	case *pb.Request_Subscribe:
		items = len(b.Subscribe.GetItems())
	case *pb.Request_Modify:
		items = len(b.Modify.GetItems())
	case *pb.Request_Unsubscribe:
		items, called = len(b.Unsubscribe.GetTopics()), "topics"
	case *pb.Request_Resync:
		items, called = len(b.Resync.GetTopics()), "topics"
	case *pb.Request_Auth:
		if len(b.Auth.GetToken()) > MaxTokenBytes {
			return badRequest(req.Id, "token of %d bytes, at most %d", len(b.Auth.GetToken()), MaxTokenBytes)
		}
	case *pb.Request_Ping:
		if len(b.Ping.GetData()) > MaxPingBytes {
			return badRequest(req.Id, "ping with %d bytes, at most %d", len(b.Ping.GetData()), MaxPingBytes)
		}
	case nil:
		return unknownRequest(req.Id, unknownField(req))
	}
	switch {
	case items == 0 && !hasRates(req):
		return badRequest(req.Id, "no %s", called)
	case items > MaxRequestItems:
		return tooManyItems(req.Id, items)
	}
	return nil
}

// hasRates reports whether req is a modify that changes the connection's rates,
// which needs no items.
func hasRates(req *pb.Request) bool {
	m := req.GetModify()
	return m.GetMaxHz() != 0 || m.GetMaxBytesPerS() != 0
}

func unknownRequest(id uint32, what string) error {
	return &RequestError{ID: id, Code: pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, Err: fmt.Errorf("unknown request %s", what)}
}

// unknownField names what a request of a newer client holds.
func unknownField(req *pb.Request) string {
	number, _, n := protowire.ConsumeTag(req.ProtoReflect().GetUnknown())
	if n < 0 {
		return "(nothing set)"
	}
	return fmt.Sprintf("(field %d)", number)
}
