package proto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Walking over JSON text that checkJSON has found to be valid: what follows looks
// for the ends of values and need not doubt their form.

func checkJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		return errors.New("not JSON")
	}
	return nil
}

// jsonMember is one member of an object; the value is its text.
type jsonMember struct {
	name  []byte
	value []byte
}

// usualMembers is how many members an object seldom exceeds.
const usualMembers = 16

// objectMembers appends the members of the object that text holds.
func objectMembers(dst []jsonMember, text []byte) ([]jsonMember, error) {
	text = skipSpace(text)
	if text[0] != '{' {
		return dst, errors.New("not an object")
	}
	for text = skipSpace(text[1:]); text[0] != '}'; text = skipSpace(text) {
		if text[0] == ',' {
			text = skipSpace(text[1:])
		}
		if len(dst) == maxJSONMembers {
			return dst, fmt.Errorf("an object of more than %d members", maxJSONMembers)
		}
		key, rest := cutValue(text)
		name, err := jsonBytes(key)
		if err != nil {
			return dst, err
		}
		for i := range dst {
			if bytes.Equal(dst[i].name, name) {
				return dst, fmt.Errorf("%q comes twice", name)
			}
		}
		rest = skipSpace(rest)[1:] // the colon
		value, rest := cutValue(skipSpace(rest))
		dst = append(dst, jsonMember{name, value})
		text = rest
	}
	return dst, nil
}

// eachItem calls visit with the text of each item of the array that text holds.
func eachItem(text []byte, most int, visit func(index int, item []byte) error) error {
	text = skipSpace(text)
	if text[0] != '[' {
		return errors.New("not an array")
	}
	index := 0
	for text = skipSpace(text[1:]); text[0] != ']'; text = skipSpace(text) {
		if text[0] == ',' {
			text = skipSpace(text[1:])
		}
		if index == most {
			return fmt.Errorf("%w: more than %d items", ErrTooLarge, most)
		}
		item, rest := cutValue(text)
		if err := visit(index, item); err != nil {
			return err
		}
		text = rest
		index++
	}
	return nil
}

func skipSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\n' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// cutValue parts the value that text begins with from what follows.
func cutValue(text []byte) (value, rest []byte) {
	end, depth := 0, 0
	for end < len(text) {
		switch text[end] {
		case '"':
			end = stringEnd(text, end)
		case '{', '[':
			depth++
			end++
		case '}', ']':
			depth--
			end++
		default: // within a container, or a number or a literal
			if depth == 0 {
				end = wordEnd(text, end)
				return text[:end], text[end:]
			}
			end++
			continue
		}
		if depth == 0 {
			break
		}
	}
	return text[:end], text[end:]
}

// stringEnd returns where the string that begins at i ends.
func stringEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// wordEnd returns where the number or literal that begins at i ends.
func wordEnd(text []byte, i int) int {
	for i < len(text) {
		switch text[i] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

// jsonBytes returns what a JSON string holds; where nothing in it is escaped, it
// is a part of text.
func jsonBytes(text []byte) ([]byte, error) {
	if len(text) == 0 || text[0] != '"' {
		return nil, errors.New("not a string")
	}
	inner := text[1 : len(text)-1]
	for _, c := range inner {
		if c == '\\' {
			s, err := unescape(text)
			return []byte(s), err
		}
	}
	return inner, nil
}

// unescape resolves escapes. Half a surrogate pair stands for no character and
// would become U+FFFD unseen.
func unescape(text []byte) (string, error) {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return "", err
	}
	if strings.Count(s, "\uFFFD") > strings.Count(string(text), "\uFFFD") {
		return "", errors.New("an escape that is no character")
	}
	return s, nil
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s, which must be UTF-8, as a JSON string.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	begin := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[begin:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		begin = i + 1
	}
	return append(append(dst, s[begin:]...), '"')
}

// appendHex appends the lowest digits hexadecimal digits of v as a JSON string.
func appendHex(dst []byte, v uint64, digits int) []byte {
	dst = append(dst, '"')
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return append(dst, '"')
}
