package ingest

import (
	"errors"
	"testing"
	"time"
)

// fails reads until the source does.
func (l *lateLog) fails(t *testing.T) error {
	t.Helper()
	for range 1000 {
		if _, err := l.stage.Next(t.Context()); err != nil {
			return err
		}
	}
	t.Fatal("nothing is wrong")
	return nil
}

// While records of a log wait, another takes its place: what is in that is looked for
// from then on, and not only when the last record of the first has come.
func TestLateRecordOfTheNextLogIsNotEarly(t *testing.T) {
	l := newLateLog()
	l.watch()
	l.write(l.clock)
	if f, err := l.stage.Next(t.Context()); err != nil || len(f.Records) > 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	l.pass(time.Second)
	l.recreate()
	l.pass(5 * time.Second)
	l.write(l.clock.Add(-time.Hour)) // says its producer
	if err := l.fails(t); !errors.Is(err, ErrRecreated) {
		t.Fatal(err)
	}
	if age := l.until(t, 0); age < lateDelay-time.Second {
		t.Errorf("it came after %v", age)
	}
}

// While what is wrong with the next log waits, its books begin where it did.
func TestLateBooksOfTheNextLogBeginWhereItDoes(t *testing.T) {
	r := newLateRig(t)
	r.cfg.SilentAfter = time.Hour
	for range 3 {
		r.write(r.clock.Add(-time.Minute))
	}
	r.watch()
	r.steps(lateDelay)
	r.want("catching_up true", "begin complete=true", "apply SIM:A@0", "apply SIM:A@1", "apply SIM:A@2", "catching_up false")
	r.recreate()
	r.steps(time.Second) // it is found out
	r.pass(time.Second)
	r.recreate() // before anything is read
	r.steps(lateDelay - time.Second)
	r.want("refuse @2 recreated", "catching_up true", "begin complete=true", "catching_up false")
	if next := r.stats.NextOffset.Load(); next != 0 {
		t.Errorf("the next log goes on at offset %d", next)
	}
	r.steps(2 * time.Second)
	r.want("refuse @0 recreated", "catching_up true", "begin complete=true", "catching_up false")
}

// While records wait nothing is fetched, so that nothing fails where the log has become
// another: it is looked at before more is taken for its continuation.
func TestLateLogIsLookedAtAnewWhereItMayBeAnother(t *testing.T) {
	l := newLateLog()
	next := func() {
		if _, err := l.stage.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.watch()
	for range 20 { // answers come all the time
		next()
	}
	if l.rechecks != 0 {
		t.Errorf("%d times where answers come", l.rechecks)
	}
	l.leader++
	l.look()
	if l.rechecks != 1 {
		t.Errorf("%d times where there is another leader", l.rechecks)
	}
	l.write(l.clock)
	l.until(t, 0)
	if next(); l.rechecks != 2 {
		t.Errorf("%d times where a record waited", l.rechecks)
	}
}

// What is not due waits in the log, however much it is: one answer is held.
func TestLateRecordsBeyondOneAnswerWaitInTheLog(t *testing.T) {
	l := newLateLog()
	for range 1000 {
		l.write(l.clock)
	}
	l.watch()
	for l.clock.Before(rigStart.Add(lateDelay - time.Second)) {
		if f, err := l.stage.Next(t.Context()); err != nil || len(f.Records) > 0 {
			t.Fatalf("%+v, %v", f, err)
		}
		if l.next != int64(l.most) || len(l.stage.held.Records) != l.most {
			t.Fatalf("%d were read, %d are held", l.next, len(l.stage.held.Records))
		}
	}
	for next := int64(0); next < 1000; {
		f, err := l.stage.Next(t.Context())
		if err != nil || f.From != next {
			t.Fatalf("%+v, %v, behind offset %d", f, err, next)
		}
		next = f.Next
	}
}
