package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"
)

// deflateOffer asks for messages that are compressed each for itself (RFC 7692), as
// the server makes them: then a connection keeps no window. What this client sends is
// small and goes as it is.
var deflateOffer = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

// agreedDeflate returns the inflater of a connection by what its server agreed to; nil
// where it declined.
func agreedDeflate(extensions []httphead.Option) (*inflater, error) {
	if len(extensions) == 0 {
		return nil, nil
	}
	var p wsflate.Parameters
	if err := p.Parse(extensions[0]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if len(extensions) > 1 || !p.ServerNoContextTakeover {
		return nil, fmt.Errorf("%w: an extension that was not offered", ErrProtocol)
	}
	return &inflater{reader: flate.NewReader(nil)}, nil
}

var errReserved = errors.New("reserved bit that means nothing here")

// checkReserved holds the reserved bits to RFC 7692, section 6: the first says that a
// message is compressed, in the first frame of one.
func checkReserved(h ws.Header, deflate bool) error {
	first := h.OpCode == ws.OpText || h.OpCode == ws.OpBinary
	if h.Rsv2() || h.Rsv3() || h.Rsv1() && (!deflate || !first) {
		return errReserved
	}
	return nil
}

// inflater undoes the compression of messages. Its memory is reused.
type inflater struct {
	reader io.Reader // a flate.Resetter
	from   bytes.Reader
	out    bytes.Buffer
}

// deflateTail ends a message: what its sender has left out (RFC 7692, section 7.2.2),
// and a last block, which tells the reader that this is the end.
var deflateTail = []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff}

// inflate returns the message of a compressed one, of at most most bytes, valid until
// the next call.
func (f *inflater) inflate(message []byte, most int) ([]byte, error) {
	f.from.Reset(message)
	f.out.Reset()
	if err := f.reader.(flate.Resetter).Reset(io.MultiReader(&f.from, bytes.NewReader(deflateTail)), nil); err != nil {
		return nil, err
	}
	n, err := f.out.ReadFrom(io.LimitReader(f.reader, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: a message that cannot be inflated: %w", ErrProtocol, err)
	case n > int64(most):
		return nil, fmt.Errorf("%w: inflated", ErrTooBig)
	}
	return f.out.Bytes(), nil
}
