package swarm

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/gobwas/ws"
)

// Kind of a fault.
type Kind string

const (
	// WrongHash: a book rebuilt from the frames, or a keepalive, has another state
	// hash than the server says.
	WrongHash Kind = "wrong_hash"
	// BrokenChain: frames are missing, or came where none may.
	BrokenChain Kind = "broken_chain"
	// Disagreement: two connections were shown different hashes at one seq.
	Disagreement Kind = "disagreement"
	// WrongBook: a book that everything the server said makes, and that is still not
	// the one that was produced.
	WrongBook Kind = "wrong_book"
	// BadMessage: bytes that are no frame of the protocol.
	BadMessage Kind = "bad_message"
)

// Fault is a proof that the server showed something wrong, with the evidence.
type Fault struct {
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
	Text   string    `json:"text"`
	Conn   int       `json:"connection"` // its number, from 0, in the whole run
	Full   bool      `json:"full"`       // it rebuilt its books
	Symbol string    `json:"symbol,omitempty"`
	Topic  uint32    `json:"topic,omitempty"`

	// Where the client stood, and what the frame says.
	Epoch   string `json:"epoch,omitempty"`
	Mine    int64  `json:"mine"`
	Hash    string `json:"hash,omitempty"`
	PrevSeq int64  `json:"frame_prev_seq"`
	Seq     int64  `json:"frame_seq"`
	Says    string `json:"frame_hash,omitempty"`

	// Frames are the last ones of the topic, the wrong one at the end; of a light
	// connection only that. Lost counts earlier ones since the last snapshot.
	Frames []Dump `json:"frames"`
	Lost   int    `json:"frames_lost,omitempty"`
}

func (f *Fault) String() string {
	return fmt.Sprintf("%s: connection %d, %s: %s (mine %d, frame %d to %d)", f.Kind, f.Conn, f.Symbol, f.Text, f.Mine, f.PrevSeq, f.Seq)
}

// Dump is one message of the server.
type Dump struct {
	Received int64  `json:"received"` // ns since 1970
	Size     int    `json:"size"`     // of the message; more than is here: the rest was not kept
	Text     string `json:"text,omitempty"`
	Hex      string `json:"hex,omitempty"`
}

func dump(op ws.OpCode, payload []byte, size int, received int64) Dump {
	d := Dump{Received: received, Size: size}
	if op == ws.OpText {
		d.Text = string(payload)
	} else {
		d.Hex = hex.EncodeToString(payload)
	}
	return d
}

// What a connection keeps of the frames since its last snapshot.
const (
	keptFrames = 128
	keptBytes  = 128 << 10
)

// record is the latest frames of one topic, oldest first.
type record struct {
	frames []kept
	bytes  int
	lost   int
}

type kept struct {
	op       ws.OpCode
	payload  []byte
	received int64
}

// begin forgets what was before a snapshot.
func (r *record) begin() { *r = record{frames: r.frames[:0]} }

func (r *record) add(op ws.OpCode, payload []byte, received int64) {
	r.frames = append(r.frames, kept{op, append([]byte(nil), payload...), received})
	r.bytes += len(payload)
	for len(r.frames) > 1 && (len(r.frames) > keptFrames || r.bytes > keptBytes) {
		r.bytes -= len(r.frames[0].payload)
		r.frames = append(r.frames[:0], r.frames[1:]...)
		r.lost++
	}
}

func (r *record) dumps() []Dump {
	all := make([]Dump, len(r.frames))
	for i, k := range r.frames {
		all[i] = dump(k.op, k.payload, len(k.payload), k.received)
	}
	return all
}
