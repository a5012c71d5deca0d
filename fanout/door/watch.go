package door

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Watched are files that are read anew when one of them has changed.
type Watched struct {
	files []string
	taken []stamp // as they were when they were last read
}

// Watch notes how files are, before they are first read.
func Watch(files ...string) *Watched {
	w := &Watched{files: files}
	w.taken, _ = w.look() // where one is missing, whatever comes has changed
	return w
}

// Run calls reload whenever a file has changed, until ctx ends. It looks every so
// often, and takes nothing that has not stayed the same for a look, so that what is
// being written is not read half. What could not be read is not tried again before it
// has changed.
func (w *Watched) Run(ctx context.Context, every time.Duration, reload func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var seen []stamp
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		are, err := w.look()
		steady := err == nil && same(are, seen)
		seen = are
		if steady && !same(are, w.taken) {
			w.taken = are
			reload()
		}
	}
}

func (w *Watched) look() ([]stamp, error) {
	are := make([]stamp, len(w.files))
	for i, file := range w.files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		are[i] = stamp{info.ModTime(), info.Size(), info}
	}
	return are, nil
}

// stamp tells one state of a file from another.
type stamp struct {
	at   time.Time
	size int64
	sys  fs.FileInfo
}

func same(a, b []stamp) bool { return slices.EqualFunc(a, b, stamp.same) }

func (s stamp) same(o stamp) bool {
	return s.at.Equal(o.at) && s.size == o.size && os.SameFile(s.sys, o.sys)
}
