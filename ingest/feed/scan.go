package feed

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// listing is what the first pass over the recordings finds: the symbols with the
// venue's own decimals. It is the Instruments of the codecs that convert.
type listing struct {
	instruments map[string]*proto.Instrument // by symbol
	order       []string                     // symbols as they come up
	files       []fileListing
}

// fileListing is what is known of one file.
type fileListing struct {
	venue string // "BINANCE"
	alone string // the name of its only symbol, for messages that name none; "" where there are several
}

// Exponents implements ingest.Instruments, for the symbols and their clones.
func (l *listing) Exponents(symbol string) proto.Exponents {
	base, _, _ := strings.Cut(symbol, "~")
	if in := l.instruments[base]; in != nil {
		return in.Exponents
	}
	return proto.DefaultExponents
}

// scanned is one symbol of one file.
type scanned struct {
	name       string
	price, qty int // most digits after the point
	maxLevels  uint32
}

// scan reads all files once.
func scan(ctx context.Context, paths []string, format string) (*listing, error) {
	l := &listing{instruments: map[string]*proto.Instrument{}}
	for _, path := range paths {
		if err := l.scanFile(ctx, path, format); err != nil {
			return nil, err
		}
	}
	if len(l.order) == 0 {
		return nil, fmt.Errorf("%w: no symbol in %s", ErrRecording, strings.Join(paths, ", "))
	}
	return l, nil
}

func (l *listing) scanFile(ctx context.Context, path, format string) error {
	r, err := openRecording(path, format)
	if err != nil {
		return err
	}
	defer r.Close()
	if z, ok := r.(*lobsterRecording); ok {
		l.files = append(l.files, fileListing{venue: "LOBSTER", alone: z.symbol})
		l.list("LOBSTER:"+z.symbol, &proto.Instrument{
			Exponents: proto.Exponents{Price: -4, Qty: 0}, Tick: 100, Lot: 1, MaxLevels: z.levels,
			Type: uint8(pb.InstrumentType_INSTRUMENT_TYPE_EQUITY), Name: z.symbol, Base: z.symbol, Quote: "USD",
		})
		return nil
	}
	inspector, err := ingest.NewInspector(format)
	if err != nil {
		return err
	}
	found, futures, err := inspect(ctx, r, inspector, path)
	if err != nil {
		return err
	}
	file := fileListing{venue: strings.ToUpper(format)}
	kind := pb.InstrumentType_INSTRUMENT_TYPE_SPOT
	if futures {
		file.venue += "-USDM"
		kind = pb.InstrumentType_INSTRUMENT_TYPE_PERPETUAL
	}
	named := 0
	for _, s := range found {
		if s.name != "" {
			file.alone, named = s.name, named+1
		}
	}
	unnamed := slices.ContainsFunc(found, func(s *scanned) bool { return s.name == "" })
	if named != 1 {
		if file.alone = ""; unnamed {
			return fmt.Errorf("%w: %s: a snapshot names no symbol, and the file has %d", ErrRecording, path, named)
		}
	}
	for _, s := range found {
		if s.name == "" {
			s.name = file.alone
		}
		in, err := s.instrument(kind)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRecording, path, err)
		}
		l.list(file.venue+":"+s.name, in)
	}
	l.files = append(l.files, file)
	return nil
}

// inspect reads a file to its end; what names no symbol counts for "".
func inspect(ctx context.Context, r recording, inspector *ingest.Inspector, path string) (found []*scanned, futures bool, err error) {
	byName := map[string]*scanned{}
	for n := 1; ; n++ {
		l, err := r.next()
		if err == io.EOF {
			return found, futures, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, false, err
		}
		p, err := inspector.Inspect(l.value)
		if err != nil {
			return nil, false, fmt.Errorf("%w: %s: message %d: %w", ErrRecording, path, n, err)
		}
		if !p.Data {
			continue
		}
		futures = futures || p.Futures
		s := byName[string(p.Symbol)]
		if s == nil {
			s = &scanned{name: string(p.Symbol)}
			byName[s.name] = s
			found = append(found, s)
		}
		s.price, s.qty = max(s.price, p.PriceDecimals), max(s.qty, p.QtyDecimals)
		s.maxLevels = max(s.maxLevels, p.MaxLevels)
	}
}

func (s *scanned) instrument(kind pb.InstrumentType) (*proto.Instrument, error) {
	if s.price > -proto.MinExponent || s.qty > -proto.MinExponent {
		return nil, fmt.Errorf("%s has %d and %d digits after the point", s.name, s.price, s.qty)
	}
	base, quote, _ := strings.Cut(s.name, "/")
	if quote == "" {
		base = ""
	}
	return &proto.Instrument{
		Exponents: proto.Exponents{Price: int8(-s.price), Qty: int8(-s.qty)},
		Type:      uint8(kind), Name: s.name, Base: base, Quote: quote, MaxLevels: s.maxLevels,
	}, nil
}

// list adds a symbol, or widens one that another file has too.
func (l *listing) list(symbol string, in *proto.Instrument) {
	had := l.instruments[symbol]
	if had == nil {
		l.instruments[symbol] = in
		l.order = append(l.order, symbol)
		return
	}
	had.Exponents.Price = min(had.Exponents.Price, in.Exponents.Price)
	had.Exponents.Qty = min(had.Exponents.Qty, in.Exponents.Qty)
	had.MaxLevels = max(had.MaxLevels, in.MaxLevels)
}
