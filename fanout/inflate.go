package fanout

// inflater undoes DEFLATE (RFC 1951) for one message as its bytes come, so that a
// compressed text that is not UTF-8 fails before its end. The readers of compress/flate and its
// like pull, and give nothing out before a block of 32 KiB or the end. What
// was inflated is the window: a message refers to nothing before it (no context
// takeover). The zero value is ready.
type inflater struct {
	in    []byte // not used yet: less than a symbol, or than the header of a block
	at    int    // bits of in that are used
	state inflateState
	final bool // this block is the last

	stored int     // bytes to come of a stored block
	values huffman // literals, lengths, end of block
	steps  huffman // distances
}

type inflateState uint8

const (
	betweenBlocks inflateState = iota
	inStored
	inCodes
	afterFinal // what follows is padding
)

// errBadDeflate ends a connection whose message is not DEFLATE, or not a whole one.
var errBadDeflate = &violation{DropProtocol, "message that cannot be inflated"}

// deflateTail is what a sender leaves out at the end of each message (RFC 7692
// section 7.2.1): the length of an empty stored block.
var deflateTail = []byte{0, 0, 0xff, 0xff}

// write appends to out what can be inflated of b and what came before it. out is
// what earlier calls have returned, and never grows beyond max bytes. Errors are
// *violations.
func (z *inflater) write(out, b []byte, max int) ([]byte, error) {
	z.in = append(z.in, b...)
	var err error
	for more := true; more && err == nil; {
		at := z.at
		switch z.state {
		case betweenBlocks:
			if more, err = z.block(); !more {
				z.at = at // the header is not all there
			}
		case inStored:
			out, more, err = z.copyStored(out, max)
		case inCodes:
			out, more, err = z.codes(out, max)
		case afterFinal:
			z.at, more = 8*len(z.in), false
		}
	}
	used := z.at / 8
	z.in, z.at = z.in[:copy(z.in, z.in[used:])], z.at%8
	return out, err
}

// end is write for the tail that was left out, after which the message is whole. It
// belongs to a block that has begun, and ends there.
func (z *inflater) end(out []byte, max int) ([]byte, error) {
	if z.state == afterFinal {
		return out, nil
	}
	if z.state != betweenBlocks || len(z.in) == 0 {
		return out, errBadDeflate
	}
	out, err := z.write(out, deflateTail, max)
	if err == nil && (len(z.in) > 0 || z.state == inStored || z.state == inCodes) {
		err = errBadDeflate
	}
	return out, err
}

// bits takes n bits, at most 16; ok is false if they have not come.
func (z *inflater) bits(n int) (v int, ok bool) {
	if z.at+n > 8*len(z.in) {
		return 0, false
	}
	for got := 0; got < n; {
		b := int(z.in[z.at/8]) >> (z.at % 8)
		took := min(8-z.at%8, n-got)
		v |= (b & (1<<took - 1)) << got
		got += took
		z.at += took
	}
	return v, true
}

// ended leaves a block.
func (z *inflater) ended() {
	z.state = betweenBlocks
	if z.final {
		z.state = afterFinal
	}
}

// block reads the header of a block (RFC 1951 section 3.2.3); false if it is not
// all there, and then nothing has changed but z.at.
func (z *inflater) block() (ok bool, err error) {
	head, ok := z.bits(3)
	if !ok {
		return false, nil
	}
	state := inCodes
	switch head >> 1 {
	case 0:
		z.at = (z.at + 7) &^ 7
		length, _ := z.bits(16)
		check, ok := z.bits(16)
		if !ok {
			return false, nil
		}
		if length^check != 0xffff {
			return false, errBadDeflate
		}
		z.stored, state = length, inStored
	case 1:
		z.values, z.steps = fixedValues, fixedSteps
	case 2:
		if ok, err := z.tables(); !ok || err != nil {
			return false, err
		}
	default:
		return false, errBadDeflate
	}
	z.final, z.state = head&1 != 0, state
	return true, nil
}

// copyStored appends what has come of a stored block.
func (z *inflater) copyStored(out []byte, max int) ([]byte, bool, error) {
	from := z.at / 8
	n := min(z.stored, len(z.in)-from)
	if len(out)+n > max {
		return out, false, errMessageTooBig
	}
	out = append(out, z.in[from:from+n]...)
	z.at += 8 * n
	if z.stored -= n; z.stored > 0 {
		return out, false, nil
	}
	z.ended()
	return out, true, nil
}

// endOfBlock is the value that ends a block; lengths follow it, literals precede.
const endOfBlock = 256

// codes appends what the symbols that have come stand for. more tells that the
// block has ended and another follows.
func (z *inflater) codes(out []byte, max int) (_ []byte, more bool, err error) {
	for {
		at := z.at
		value, ok := z.values.next(z)
		switch {
		case !ok:
			z.at = at
			return out, false, z.values.stuck(z)
		case value == endOfBlock:
			z.ended()
			return out, true, nil
		case value < endOfBlock:
			if len(out) == max {
				return out, false, errMessageTooBig
			}
			out = append(out, byte(value))
			continue
		}
		length, distance, ok, err := z.match(value)
		switch {
		case err != nil:
			return out, false, err
		case !ok:
			z.at = at
			return out, false, nil
		case distance > len(out):
			return out, false, errBadDeflate
		case len(out)+length > max:
			return out, false, errMessageTooBig
		}
		for from := len(out) - distance; length > 0; { // what is copied may itself be copied on
			n := min(length, len(out)-from)
			out = append(out, out[from:from+n]...)
			length -= n
		}
	}
}

// match reads the rest of a length, and a distance.
func (z *inflater) match(value int) (length, distance int, ok bool, err error) {
	value -= endOfBlock + 1
	if value >= len(lengths) {
		return 0, 0, false, errBadDeflate
	}
	extra, ok := z.bits(int(lengths[value].extra))
	if !ok {
		return 0, 0, false, nil
	}
	step, ok := z.steps.next(z)
	if !ok {
		return 0, 0, false, z.steps.stuck(z)
	}
	if step >= len(distances) {
		return 0, 0, false, errBadDeflate
	}
	further, ok := z.bits(int(distances[step].extra))
	return int(lengths[value].base) + extra, int(distances[step].base) + further, ok, nil
}
