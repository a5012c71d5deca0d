package proto

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/proto/pb"
)

// DecodeJSONRequest decodes one text message of a client, whose size the
// connection has bounded. An error is always a *RequestError.
func DecodeJSONRequest(text []byte) (*pb.Request, error) {
	if err := checkJSON(text); err != nil {
		return nil, badRequest(0, "%w: %w", ErrJSON, err)
	}
	members, err := objectMembers(make([]jsonMember, 0, usualMembers), text)
	if err != nil {
		return nil, badRequest(0, "%w: %w", ErrJSON, err)
	}
	req := &pb.Request{}
	for _, member := range members {
		if string(member.name) == "id" && string(member.value) != "null" {
			id, err := strconv.ParseUint(string(member.value), 10, 32)
			if err != nil {
				return nil, badRequest(0, "%w: id: not a number of 32 bits", ErrJSON)
			}
			req.Id = uint32(id)
		}
	}
	kind, err := typeOf(members)
	if err != nil {
		return nil, badRequest(req.Id, "%w: %w", ErrJSON, err)
	}
	body := bodyOf(requestBodies, kind)
	if body == nil {
		return nil, unknownRequest(req.Id, strconv.Quote(kind))
	}
	d := jsonDecoder{strict: true, most: MaxRequestItems}
	err = d.message(req.ProtoReflect().Mutable(body).Message(), members)
	if errors.Is(err, ErrTooLarge) {
		return nil, &RequestError{ID: req.Id, Code: pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS, Err: err}
	}
	if err != nil {
		return nil, badRequest(req.Id, "%w: %w", ErrJSON, err)
	}
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	return req, nil
}

// DecodeJSONFrame decodes one text message of a server. exponents returns those
// of a topic, as its last ack or snapshot gave them; it is asked only where a
// frame's decimals need them. A type that is not known here gives a Frame with
// nothing set, as in protobuf.
func DecodeJSONFrame(text []byte, exponents func(topic uint32) (Exponents, bool)) (*pb.Frame, error) {
	f := &pb.Frame{}
	if err := decodeJSONFrame(f, text, exponents); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	return f, nil
}

func decodeJSONFrame(f *pb.Frame, text []byte, exponents func(topic uint32) (Exponents, bool)) error {
	if err := checkJSON(text); err != nil {
		return err
	}
	members, err := objectMembers(make([]jsonMember, 0, usualMembers), text)
	if err != nil {
		return err
	}
	kind, err := typeOf(members)
	if err != nil {
		return err
	}
	body := bodyOf(frameBodies, kind)
	if body == nil {
		return nil
	}
	d := jsonDecoder{lookup: exponents, most: maxFrameLevels}
	for _, member := range members {
		if string(member.name) == "topic" && string(member.value) != "null" {
			topic, err := strconv.ParseUint(string(member.value), 10, 32)
			if err != nil {
				return errors.New("topic: not a number of 32 bits")
			}
			d.topic = uint32(topic)
		}
	}
	return d.message(f.ProtoReflect().Mutable(body).Message(), members)
}

func typeOf(members []jsonMember) (string, error) {
	for _, member := range members {
		if string(member.name) == "type" {
			kind, err := jsonBytes(member.value)
			if err != nil {
				return "", fmt.Errorf("type: %w", err)
			}
			return string(kind), nil
		}
	}
	return "", errors.New("no type")
}

// jsonDecoder decodes the body of one message.
type jsonDecoder struct {
	strict bool // unknown words are errors
	most   int  // items of a list, levels of a side
	topic  uint32
	lookup func(topic uint32) (Exponents, bool)
	x      Exponents
	known  bool // x is
}

// message decodes the members of an object into m.
func (d *jsonDecoder) message(m protoreflect.Message, members []jsonMember) error {
	info := jsonMessages[m.Descriptor().FullName()]
	if info.exponents {
		outer, known := d.x, d.known
		defer func() { d.x, d.known = outer, known }()
		if err := d.ownExponents(members); err != nil {
			return err
		}
	}
	for i := range members {
		f := info.byName[string(members[i].name)]
		if f == nil || string(members[i].value) == "null" {
			continue
		}
		if err := d.field(m, f, members[i].value); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// ownExponents takes the exponents of a message that has them; absent is 0.
func (d *jsonDecoder) ownExponents(members []jsonMember) error {
	d.x, d.known = Exponents{}, true
	for i := range members {
		var to *int8
		switch string(members[i].name) {
		case "price_exponent":
			to = &d.x.Price
		case "qty_exponent":
			to = &d.x.Qty
		default:
			continue
		}
		if string(members[i].value) == "null" {
			continue
		}
		v, err := strconv.ParseInt(string(members[i].value), 10, 32)
		if err != nil {
			return fmt.Errorf("%s: not a number", members[i].name)
		}
		if *to, err = checkExponent(string(members[i].name), int32(v)); err != nil {
			return err
		}
	}
	return nil
}

// exponents are those that hold where the decoder is.
func (d *jsonDecoder) exponents() (Exponents, error) {
	if !d.known && d.lookup != nil {
		d.x, d.known = d.lookup(d.topic)
	}
	if !d.known {
		return d.x, fmt.Errorf("the exponents of topic %d are not known", d.topic)
	}
	return d.x, nil
}

func (d *jsonDecoder) field(m protoreflect.Message, f *jsonField, text []byte) error {
	switch {
	case f.fd.IsList():
		list := m.Mutable(f.fd).List()
		return eachItem(text, d.most, func(index int, item []byte) error {
			if err := d.item(list, f, item); err != nil {
				return fmt.Errorf("item %d: %w", index, err)
			}
			return nil
		})
	case f.form == formLevels:
		levels, err := d.levels(text)
		if levels != nil {
			m.Set(f.fd, protoreflect.ValueOfMessage(levels.ProtoReflect()))
		}
		return err
	case f.form == formOrders:
		orders, err := d.orders(text)
		if orders != nil {
			m.Set(f.fd, protoreflect.ValueOfMessage(orders.ProtoReflect()))
		}
		return err
	case f.fd.Message() != nil:
		return d.object(m.Mutable(f.fd).Message(), text)
	}
	v, err := d.scalar(f, text)
	if err == nil {
		m.Set(f.fd, v)
	}
	return err
}

func (d *jsonDecoder) item(list protoreflect.List, f *jsonField, text []byte) error {
	if f.fd.Message() != nil {
		return d.object(list.AppendMutable().Message(), text)
	}
	v, err := d.scalar(f, text)
	if err == nil {
		list.Append(v)
	}
	return err
}

func (d *jsonDecoder) object(m protoreflect.Message, text []byte) error {
	members, err := objectMembers(make([]jsonMember, 0, usualMembers), text)
	if err != nil {
		return err
	}
	return d.message(m, members)
}
