package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// paint is the colour of a line on a screen.
type paint uint8

const (
	plain paint = iota
	green
	red
	yellow
	dim
)

var escapes = [...]string{plain: "", green: "\x1b[32m", red: "\x1b[31m", yellow: "\x1b[33m", dim: "\x1b[2m"}

// line is one line of a ladder.
type line struct {
	text  string
	paint paint
}

// ladder draws a symbol: asks from the worst shown down, the spread, bids, and
// the trades that are kept. disconnected is the paint of a book whose state is not
// live, so that it is told apart.
func ladder(s *watched, disconnected paint) []line {
	b := s.book.Book()
	state, reason, phase := stateOf(b)
	badge := strings.ToUpper(state)
	if reason != "" {
		badge += " (" + strings.ReplaceAll(reason, "_", " ") + ")"
	}
	if s.late > 0 {
		badge += fmt.Sprintf(", late by %v", s.late)
	}
	head := line{fmt.Sprintf("%s  %s  %s  seq %d", s.symbol, badge, phase, b.Seq()), green}
	if b.State() != proto.Live {
		head.paint = yellow
	}
	lines := []line{head}
	if s.notice != "" {
		lines = append(lines, line{s.notice, yellow})
	}
	if text := tickerText(s.ticker); text != "" {
		lines = append(lines, line{text, plain})
	}
	bids, asks := slices.Collect(b.Levels(proto.Bid)), slices.Collect(b.Levels(proto.Ask))
	slices.Reverse(asks)
	lines = append(lines, rungs(b, proto.Ask, asks, red)...)
	lines = append(lines, line{spread(b), dim})
	lines = append(lines, rungs(b, proto.Bid, bids, green)...)
	if b.State() != proto.Live {
		for i := range lines[1:] {
			lines[i+1].paint = disconnected
		}
	}
	for i := range s.trades {
		lines = append(lines, line{"trade " + tradeText(&s.trades[i], s.tape.Exponents()), dim})
	}
	if s.missed > 0 {
		lines = append(lines, line{fmt.Sprintf("%d trades missed", s.missed), yellow})
	}
	return lines
}

// rungs draws levels of a side with their columns aligned.
func rungs(b *client.Book, side proto.Side, levels []proto.Level, p paint) []line {
	lines := make([]line, 0, len(levels))
	for _, l := range levels {
		text := fmt.Sprintf("%16s %18s", decimal(l.Price, b.Exponents().Price), decimal(l.Qty, b.Exponents().Qty))
		if l.Count > 0 {
			text += fmt.Sprintf(" %5d", l.Count)
		}
		text += queueText(b.Queue(side, l.Price), b.Exponents().Qty)
		lines = append(lines, line{text, p})
	}
	return lines
}

// shownOrders is how many orders of a level are drawn.
const shownOrders = 10

// queueText writes the quantities of a queue, the one served first in front.
func queueText(queue []proto.RankedOrder, exponent int8) string {
	var text strings.Builder
	for i := range queue {
		if i == 0 {
			text.WriteString(" ")
		}
		if i == shownOrders {
			fmt.Fprintf(&text, " and %d more", len(queue)-i)
			break
		}
		text.WriteString(" " + decimal(queue[i].Qty, exponent))
	}
	return text.String()
}

// spread draws the line between the sides.
func spread(b *client.Book) string {
	bid, hasBid := b.Best(proto.Bid)
	ask, hasAsk := b.Best(proto.Ask)
	gap := "-"
	if difference := ask.Price - bid.Price; hasBid && hasAsk && (difference >= 0) == (ask.Price >= bid.Price) {
		gap = decimal(difference, b.Exponents().Price)
	}
	text := fmt.Sprintf("%16s spread", gap)
	switch {
	case b.Crossed():
		text += ", crossed"
	case b.Locked():
		text += ", locked"
	}
	if b.Partial() {
		text += ", partial"
	}
	return text
}

// columnWidth is the least width of a ladder on a screen.
const columnWidth = 46

// arrange puts ladders side by side, as many as fit into width, the rest below,
// and cuts what is beyond width or height.
func arrange(ladders [][]line, width, height int) []byte {
	perRow := max(1, width/columnWidth)
	var out bytes.Buffer
	left := height
	for row := range slices.Chunk(ladders, perRow) {
		tallest := 0
		for _, l := range row {
			tallest = max(tallest, len(l))
		}
		for i := 0; i <= tallest && left > 0; i++ { // and an empty line after the row
			for column, l := range row {
				if i < len(l) {
					cell := width / min(perRow, len(row))
					writeCell(&out, l[i], cell, column < len(row)-1)
				} else {
					out.WriteString(strings.Repeat(" ", width/min(perRow, len(row))))
				}
			}
			out.WriteString("\x1b[K\r\n")
			left--
		}
	}
	return out.Bytes()
}

// writeCell writes a line cut to width, padded where another column follows.
func writeCell(out *bytes.Buffer, l line, width int, padded bool) {
	text := l.text
	if n := utf8.RuneCountInString(text); n > width-2 {
		text = string([]rune(text)[:max(0, width-2)])
	}
	out.WriteString(escapes[l.paint])
	out.WriteString(text)
	if l.paint != plain {
		out.WriteString("\x1b[0m")
	}
	if padded {
		out.WriteString(strings.Repeat(" ", width-utf8.RuneCountInString(text)))
	}
}

// screen redraws all ladders in place.
type screen struct {
	out    *os.File
	notice string // on top, while not connected
}

func newScreen(out *os.File) *screen {
	s := &screen{out: out, notice: "connecting"}
	_, _ = out.WriteString("\x1b[?25l\x1b[2J") // hide the cursor, clear; a failure shows at the first drawing
	return s
}

func (s *screen) close() { _, _ = s.out.WriteString("\x1b[?25h\r\n") }

func (s *screen) connection(err error, retryIn time.Duration, all []*watched) error {
	s.notice = ""
	if err != nil {
		s.notice = fmt.Sprintf("not connected: %q; again in %v", err.Error(), retryIn.Round(100*time.Millisecond))
	}
	return s.draw(all)
}

// update leaves trades to the next change of the book.
func (s *screen) update(_ *watched, event client.Event, all []*watched) error {
	if _, ok := event.(*client.Traded); ok {
		return nil
	}
	return s.draw(all)
}

func (s *screen) draw(all []*watched) error {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24 // a terminal that does not say
	}
	ladders := make([][]line, len(all))
	for i, w := range all {
		ladders[i] = ladder(w, dim)
	}
	var frame bytes.Buffer
	frame.WriteString("\x1b[H")
	writeCell(&frame, line{s.notice, yellow}, width, false)
	frame.WriteString("\x1b[K\r\n")
	frame.Write(arrange(ladders, width, height-2))
	frame.WriteString("\x1b[J")
	_, err = s.out.Write(frame.Bytes())
	return err
}
