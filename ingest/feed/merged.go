package feed

import (
	"errors"
	"io"
)

// merged reads several recordings in the order of their recorded time. Within a
// file the order is the file's.
type merged struct {
	files   []recording
	heads   []line // the next message of each file
	ended   []bool
	current int // the file whose head was handed out last; -1: none
}

// openMerged opens all files.
func openMerged(paths []string, format string) (*merged, error) {
	m := &merged{current: -1}
	for _, path := range paths {
		r, err := openRecording(path, format)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.files = append(m.files, r)
		m.heads, m.ended = append(m.heads, line{}), append(m.ended, false)
		if err := m.advance(len(m.files) - 1); err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	return m, nil
}

// advance reads the next message of file i. A clock set back in a recording
// counts as standing still.
func (m *merged) advance(i int) error {
	l, err := m.files[i].next()
	if errors.Is(err, io.EOF) {
		m.ended[i] = true
		return nil
	}
	l.time = max(l.time, m.heads[i].time)
	m.heads[i] = l
	return err
}

// next returns the earliest message, valid until the next call, and the number
// of its file; io.EOF after the last.
func (m *merged) next() (file int, l line, err error) {
	if m.current >= 0 {
		if err := m.advance(m.current); err != nil {
			return 0, line{}, err
		}
	}
	m.current = -1
	for i := range m.files {
		if !m.ended[i] && (m.current < 0 || m.heads[i].time < m.heads[m.current].time) {
			m.current = i
		}
	}
	if m.current < 0 {
		return 0, line{}, io.EOF
	}
	return m.current, m.heads[m.current], nil
}

// Close closes all files.
func (m *merged) Close() error {
	var all error
	for _, r := range m.files {
		all = errors.Join(all, r.Close())
	}
	return all
}
