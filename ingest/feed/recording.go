package feed

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // LOBSTER's times are New York's, also where no zone files are

	"github.com/depthcast/depthcast/proto"
)

// ErrRecording is the class of all errors about what a recording holds.
var ErrRecording = errors.New("feed: not such a recording")

// maxLineBytes bounds one line of a recording; a snapshot takes some 100 KB.
const maxLineBytes = 16 << 20

// line is one message of a recording: what a raw record will hold.
type line struct {
	time  int64  // when it was received, ns since 1970
	value []byte // valid until the next call of next
}

// recording reads one recorded file from its start, never holding more than a
// line of each member.
type recording interface {
	// next returns the next message, or io.EOF.
	next() (line, error)
	Close() error
}

// openRecording opens the file in the format's own layout.
func openRecording(path, format string) (recording, error) {
	var r recording
	var err error
	switch format {
	case "binance":
		r, err = openText(path, binanceLine)
	case "kraken":
		r, err = openText(path, krakenLine)
	case "lobster":
		r, err = openLobster(path)
	default:
		err = fmt.Errorf("%w: no recordings of format %q; there are binance, kraken, lobster", ErrConfig, format)
	}
	if err != nil {
		return nil, err // not r: it would be no nil interface
	}
	return r, nil
}

// textRecording is a file of lines, gzipped where its name ends in .gz.
type textRecording struct {
	path  string
	file  *os.File
	lines *bufio.Scanner
	parse func([]byte) (l line, ok bool, err error) // ok: the line is a message
	n     int
}

func openText(path string, parse func([]byte) (line, bool, error)) (*textRecording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	var text io.Reader = bufio.NewReaderSize(file, 64<<10)
	if strings.HasSuffix(path, ".gz") {
		if text, err = gzip.NewReader(text); err != nil {
			file.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrRecording, path, err)
		}
	}
	return &textRecording{path: path, file: file, lines: scanLines(text), parse: parse}, nil
}

func scanLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLineBytes)
	return s
}

func (r *textRecording) next() (line, error) {
	for r.lines.Scan() {
		r.n++
		l, ok, err := r.parse(r.lines.Bytes())
		if err != nil {
			return line{}, fmt.Errorf("%w: %s: line %d: %w", ErrRecording, r.path, r.n, err)
		}
		if ok {
			return l, nil
		}
	}
	if err := r.lines.Err(); err != nil {
		return line{}, fmt.Errorf("%w: %s: after line %d: %w", ErrRecording, r.path, r.n, err)
	}
	return line{}, io.EOF
}

func (r *textRecording) Close() error { return r.file.Close() }

// binanceLine reads "NANOSECONDS JSON".
func binanceLine(b []byte) (line, bool, error) {
	at, value, ok := bytes.Cut(b, []byte{' '})
	if !ok {
		return line{}, false, errors.New("not a time and a message")
	}
	ns, err := proto.ParseDecimal(at, 0)
	return line{time: ns, value: value}, true, err
}

// krakenLine reads "SECONDS: JSON"; other lines tell of the connection or are empty.
func krakenLine(b []byte) (line, bool, error) {
	if len(b) == 0 || bytes.HasPrefix(b, []byte("wss://")) {
		return line{}, false, nil
	}
	at, value, ok := bytes.Cut(b, []byte(": "))
	if !ok {
		return line{}, false, errors.New("not a time and a message")
	}
	ns, err := proto.ParseDecimal(at, -9)
	return line{time: ns, value: value}, true, err
}

// lobsterRecording reads the message file and the order-book file of a zip side
// by side.
type lobsterRecording struct {
	path           string
	archive        *zip.ReadCloser
	symbol         string
	levels         uint32 // a side of the order-book file
	midnight       int64
	messages, book *bufio.Scanner
	row            int
	value          []byte
}

func openLobster(path string) (*lobsterRecording, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecording, path, err)
	}
	r := &lobsterRecording{path: path, archive: archive}
	for _, member := range archive.File {
		if err := r.member(member); err != nil {
			archive.Close()
			return nil, fmt.Errorf("%w: %s: %s: %w", ErrRecording, path, member.Name, err)
		}
	}
	if r.messages == nil || r.book == nil {
		archive.Close()
		return nil, fmt.Errorf("%w: %s: one message file and one order-book file are wanted", ErrRecording, path)
	}
	return r, nil
}

// member opens a file named SYMBOL_DATE_START_END_KIND_LEVELS.csv.
func (r *lobsterRecording) member(member *zip.File) error {
	parts := strings.Split(filepath.Base(member.Name), "_")
	if len(parts) != 6 || !strings.HasSuffix(parts[5], ".csv") {
		return nil
	}
	into := map[string]**bufio.Scanner{"message": &r.messages, "orderbook": &r.book}[parts[4]]
	if into == nil {
		return nil
	}
	if *into != nil || r.symbol != "" && r.symbol != parts[0] {
		return errors.New("more than one day or symbol")
	}
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		return err
	}
	day, err := time.ParseInLocation(time.DateOnly, parts[1], zone)
	if err != nil {
		return err
	}
	text, err := member.Open()
	if err != nil {
		return err
	}
	levels, err := strconv.ParseUint(strings.TrimSuffix(parts[5], ".csv"), 10, 16)
	if err != nil {
		return err
	}
	r.symbol, r.levels, r.midnight, *into = parts[0], uint32(levels), day.UnixNano(), scanLines(text)
	return nil
}

func (r *lobsterRecording) next() (line, error) {
	message, book := r.messages.Scan(), r.book.Scan()
	if err := errors.Join(r.messages.Err(), r.book.Err()); err != nil {
		return line{}, fmt.Errorf("%w: %s: after row %d: %w", ErrRecording, r.path, r.row, err)
	}
	if message != book {
		return line{}, fmt.Errorf("%w: %s: one file ends after %d rows, the other does not", ErrRecording, r.path, r.row)
	}
	if !message {
		return line{}, io.EOF
	}
	seconds, _, _ := bytes.Cut(r.messages.Bytes(), []byte{','})
	at, err := proto.ParseDecimal(seconds, -9)
	if err != nil {
		return line{}, fmt.Errorf("%w: %s: row %d: %w", ErrRecording, r.path, r.row, err)
	}
	r.value = fmt.Appendf(r.value[:0], "%s %d %d\n%s\n%s", r.symbol, r.midnight, r.row, r.messages.Bytes(), r.book.Bytes())
	r.row++
	return line{time: r.midnight + at, value: r.value}, nil
}

func (r *lobsterRecording) Close() error { return r.archive.Close() }
