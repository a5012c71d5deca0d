package proto

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/proto/pb"
)

// This file writes any message by its descriptor; json_append.go writes the hot
// frames by hand, with the same result.

// AppendJSONFrame appends any frame as JSON. x are the exponents of its topic;
// frames with exponents of their own, or without prices, need none.
func AppendJSONFrame(dst []byte, f *pb.Frame, x Exponents) ([]byte, error) {
	m := f.ProtoReflect()
	body := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if body == nil {
		return dst, fmt.Errorf("%w: a frame with nothing set", ErrJSON)
	}
	dst = append(append(append(dst, `{"type":"`...), body.Name()...), '"')
	return closeJSON(appendJSONMessage(dst, m.Get(body).Message(), x))
}

// EncodeJSONRequest returns a request as JSON.
func EncodeJSONRequest(req *pb.Request) ([]byte, error) {
	m := req.ProtoReflect()
	body := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if body == nil {
		return nil, fmt.Errorf("%w: a request with nothing set", ErrJSON)
	}
	dst := append(append([]byte(`{"type":"`), body.Name()...), '"')
	if req.Id != 0 {
		dst = strconv.AppendUint(append(dst, `,"id":`...), uint64(req.Id), 10)
	}
	return closeJSON(appendJSONMessage(dst, m.Get(body).Message(), Exponents{}))
}

func closeJSON(dst []byte, err error) ([]byte, error) {
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	return append(dst, '}'), nil
}

// appendJSONMessage appends the members of m, each after a comma.
func appendJSONMessage(dst []byte, m protoreflect.Message, x Exponents) ([]byte, error) {
	info := jsonMessages[m.Descriptor().FullName()]
	if info.exponents {
		price := m.Get(info.byName["price_exponent"].fd).Int()
		qty := m.Get(info.byName["qty_exponent"].fd).Int()
		if min(price, qty) < MinExponent || max(price, qty) > MaxExponent {
			return dst, fmt.Errorf("exponents %d and %d: %w", price, qty, ErrBadValue)
		}
		x = Exponents{Price: int8(price), Qty: int8(qty)}
	}
	var err error
	for i := range info.fields {
		f := &info.fields[i]
		if !f.always && !m.Has(f.fd) {
			continue
		}
		v := m.Get(f.fd)
		if f.words != nil && !f.fd.IsList() && f.words.word(int(v.Enum())) == noWord {
			return dst, fmt.Errorf("%s: %w: no word for %d", f.name, ErrBadValue, v.Enum())
		}
		dst = append(append(append(dst, ',', '"'), f.name...), '"', ':')
		if f.fd.IsList() {
			dst, err = appendJSONList(dst, f, v.List(), x)
		} else {
			dst, err = appendJSONValue(dst, f, v, x)
		}
		if err != nil {
			return dst, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return dst, nil
}

func appendJSONList(dst []byte, f *jsonField, list protoreflect.List, x Exponents) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range list.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSONValue(dst, f, list.Get(i), x); err != nil {
			return dst, fmt.Errorf("item %d: %w", i, err)
		}
	}
	return append(dst, ']'), nil
}

func appendJSONValue(dst []byte, f *jsonField, v protoreflect.Value, x Exponents) ([]byte, error) {
	switch f.fd.Kind() {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool()), nil
	case protoreflect.EnumKind:
		return append(append(append(dst, '"'), f.words.word(int(v.Enum()))...), '"'), nil
	case protoreflect.StringKind:
		if !utf8.ValidString(v.String()) {
			return dst, errors.New("not UTF-8")
		}
		return appendJSONString(dst, v.String()), nil
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v.Bytes()), '"'), nil
	case protoreflect.Uint32Kind:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case protoreflect.Sint32Kind:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case protoreflect.Fixed32Kind:
		return appendHex(dst, v.Uint(), 8), nil
	case protoreflect.Fixed64Kind:
		return appendHex(dst, v.Uint(), 16), nil
	case protoreflect.Uint64Kind:
		return append(strconv.AppendUint(append(dst, '"'), v.Uint(), 10), '"'), nil
	case protoreflect.MessageKind:
		return appendJSONNested(dst, f, v.Message(), x)
	}
	switch f.form {
	case formPrice:
		return appendJSONDecimal(dst, v.Int(), x.Price), nil
	case formQty:
		return appendJSONDecimal(dst, v.Int(), x.Qty), nil
	}
	return appendJSONInt(dst, v.Int()), nil
}

func appendJSONNested(dst []byte, f *jsonField, m protoreflect.Message, x Exponents) ([]byte, error) {
	switch f.form {
	case formLevels:
		l := m.Interface().(*pb.Levels)
		levels, err := AppendLevels(nil, l)
		return appendJSONLevels(dst, levels, len(l.GetCount()) > 0, x), err
	case formOrders:
		orders, err := AppendOrders(nil, m.Interface().(*pb.RankedOrders))
		return appendJSONOrders(dst, orders, x), err
	}
	begin := len(dst)
	dst, err := appendJSONMessage(dst, m, x)
	if len(dst) == begin {
		dst = append(dst, '{')
	} else {
		dst[begin] = '{' // in place of the first comma
	}
	return append(dst, '}'), err
}
