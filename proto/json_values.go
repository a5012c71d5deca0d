package proto

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar decodes a value that is neither a list nor a message.
func (d *jsonDecoder) scalar(f *jsonField, text []byte) (v protoreflect.Value, err error) {
	switch f.fd.Kind() {
	case protoreflect.BoolKind:
		if word := string(text); word != "true" && word != "false" {
			return v, errors.New("neither true nor false")
		}
		return protoreflect.ValueOfBool(text[0] == 't'), nil
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(string(text), 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), asNumber(err)
	case protoreflect.Sint32Kind:
		n, err := strconv.ParseInt(string(text), 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), asNumber(err)
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(bareNumber(text), 10, 64)
		return protoreflect.ValueOfUint64(n), asNumber(err)
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind, protoreflect.Sint64Kind:
		n, err := d.integer(f, text)
		return protoreflect.ValueOfInt64(n), err
	}
	s, err := jsonBytes(text)
	if err != nil {
		return v, err
	}
	switch f.fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(s)), nil
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.Strict().DecodeString(string(s))
		return protoreflect.ValueOfBytes(b), err
	case protoreflect.EnumKind:
		number, known := f.words.numbers[string(s)]
		if !known && d.strict {
			return v, fmt.Errorf("unknown word %q", s)
		}
		return protoreflect.ValueOfEnum(number), nil
	case protoreflect.Fixed32Kind:
		n, err := parseHex(s, 8)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Fixed64Kind:
		n, err := parseHex(s, 16)
		return protoreflect.ValueOfUint64(n), err
	}
	return v, fmt.Errorf("no JSON form for %v", f.fd.Kind())
}

// integer decodes a signed number of 64 bits or a decimal.
func (d *jsonDecoder) integer(f *jsonField, text []byte) (int64, error) {
	if f.form == formPlain {
		n, err := strconv.ParseInt(bareNumber(text), 10, 64)
		return n, asNumber(err)
	}
	x, err := d.exponents()
	if err != nil {
		return 0, err
	}
	if f.form == formQty {
		return parseJSONDecimal(text, x.Qty)
	}
	return parseJSONDecimal(text, x.Price)
}

func parseJSONDecimal(text []byte, exponent int8) (int64, error) {
	s, err := jsonBytes(text)
	if err != nil {
		return 0, err
	}
	return ParseDecimal(s, exponent)
}

// bareNumber returns the digits of a number with or without quotes.
func bareNumber(text []byte) string {
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	return string(text)
}

// asNumber says in one way what strconv says in several.
func asNumber(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return errors.New("number out of range")
	}
	return errors.New("not a whole number")
}

func parseHex(s []byte, digits int) (uint64, error) {
	n, err := strconv.ParseUint(string(s), 16, 64)
	if err != nil || len(s) != digits {
		return 0, fmt.Errorf("not %d hexadecimal digits", digits)
	}
	return n, nil
}
