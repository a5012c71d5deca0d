package fanout

import "slices"

// maxCodeBits is the longest code of DEFLATE.
const maxCodeBits = 15

// huffman is a canonical prefix code (RFC 1951 section 3.2.2): the codes of a
// length are consecutive numbers, given in the order of their symbols.
type huffman struct {
	count  [maxCodeBits + 1]uint16 // codes of each length
	symbol [288]uint16             // in the order of their codes
}

// newHuffman makes the code in which symbol i has bits[i] bits; 0: none. ok is
// false if the lengths are no prefix code that leaves nothing over. One code of one
// bit, and none at all, are legal.
func newHuffman(bits []uint8) (h huffman, ok bool) {
	for _, n := range bits {
		h.count[n]++
	}
	h.count[0] = 0
	var next [maxCodeBits + 2]uint16
	free, any := 1, 0
	for n := 1; n <= maxCodeBits; n++ {
		free = free<<1 - int(h.count[n])
		if free < 0 {
			return h, false
		}
		next[n+1] = next[n] + h.count[n]
		any += int(h.count[n])
	}
	for i, n := range bits {
		if n > 0 {
			h.symbol[next[n]] = uint16(i)
			next[n]++
		}
	}
	return h, free == 0 || any == 0 || any == 1 && h.count[1] == 1
}

// next takes a symbol; false if it has not come, or there is none such (stuck).
func (h *huffman) next(z *inflater) (symbol int, ok bool) {
	code, first, place := 0, 0, 0 // first code of a length, and its place among all
	at, end := z.at, 8*len(z.in)
	for n := 1; n <= maxCodeBits && at < end; n++ {
		code = code<<1 | int(z.in[at>>3]>>(at&7))&1
		first <<= 1
		at++
		count := int(h.count[n])
		if code-first < count {
			z.at = at
			return int(h.symbol[place+code-first]), true
		}
		first += count
		place += count
	}
	return 0, false
}

// stuck tells why there was no next symbol: nil if more bits may bring one.
func (h *huffman) stuck(z *inflater) error {
	if 8*len(z.in)-z.at >= maxCodeBits {
		return errBadDeflate
	}
	return nil
}

// span is what a symbol stands for: base, and extra bits to be added.
type span struct {
	base  uint16
	extra uint8
}

// The tables and codes of RFC 1951 section 3.2.5 and 3.2.6.
var (
	lengths   = append(spans(28, 3, 4), span{base: 258})
	distances = spans(30, 1, 2)

	fixedValues, _ = newHuffman(slices.Concat(
		slices.Repeat([]uint8{8}, 144), slices.Repeat([]uint8{9}, 112), slices.Repeat([]uint8{7}, 24), slices.Repeat([]uint8{8}, 8)))
	fixedSteps, _ = newHuffman(slices.Repeat([]uint8{5}, 32))
)

// spans returns n spans that follow on one another from base on: the first two
// groups of one value each, each later group with one extra bit more.
func spans(n int, base uint16, group int) []span {
	all := make([]span, n)
	for i := range all {
		extra := max(0, i/group-1)
		all[i] = span{base, uint8(extra)}
		base += 1 << extra
	}
	return all
}

const (
	maxValues    = 286 // symbols of values, and of steps, that a block may give codes to
	maxSteps     = 30
	copyPrevious = 16 // of the code of code lengths; below it a length as it is
	shortZeros   = 17
	longZeros    = 18
)

// lengthOrder is the order in which a block gives the lengths of the code of code
// lengths (RFC 1951 section 3.2.7).
var lengthOrder = [19]uint8{copyPrevious, shortZeros, longZeros, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// tables reads the codes of a block that brings its own; false if they are not all
// there.
func (z *inflater) tables() (ok bool, err error) {
	head, ok := z.bits(14)
	if !ok {
		return false, nil
	}
	values, steps, given := head&31+257, head>>5&31+1, head>>10+4
	if values > maxValues || steps > maxSteps {
		return false, errBadDeflate
	}
	var bits [19]uint8
	for _, symbol := range lengthOrder[:given] {
		n, ok := z.bits(3)
		if !ok {
			return false, nil
		}
		bits[symbol] = uint8(n)
	}
	code, ok := newHuffman(bits[:])
	if !ok {
		return false, errBadDeflate
	}
	var all [maxValues + maxSteps]uint8
	if ok, err := z.codeLengths(&code, all[:values+steps]); !ok || err != nil {
		return false, err
	}
	of, ok := newHuffman(all[:values])
	at, fine := newHuffman(all[values : values+steps])
	if !ok || !fine {
		return false, errBadDeflate
	}
	z.values, z.steps = of, at
	return true, nil
}

// codeLengths reads lengths, run by run, until all is full.
func (z *inflater) codeLengths(code *huffman, all []uint8) (ok bool, err error) {
	for i := 0; i < len(all); {
		symbol, ok := code.next(z)
		if !ok {
			return false, code.stuck(z)
		}
		value, n := uint8(symbol), 1
		switch symbol {
		case copyPrevious:
			if i == 0 {
				return false, errBadDeflate
			}
			value = all[i-1]
			n, ok = z.bits(2)
			n += 3
		case shortZeros:
			value = 0
			n, ok = z.bits(3)
			n += 3
		case longZeros:
			value = 0
			n, ok = z.bits(7)
			n += 11
		}
		if !ok {
			return false, nil
		}
		if i+n > len(all) {
			return false, errBadDeflate
		}
		for ; n > 0; n-- {
			all[i] = value
			i++
		}
	}
	return true, nil
}
