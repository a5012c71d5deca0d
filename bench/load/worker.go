package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/depthcast/depthcast/bench/swarm"
)

// order is what a worker is told, one JSON object a line. The first has the plan.
type order struct {
	Plan  *swarm.Plan `json:",omitempty"`
	Step  swarm.Step  `json:",omitempty"`
	Mark  int         `json:",omitempty"` // answer with a sample, so that what came before is told apart
	Books bool        `json:",omitempty"` // with Mark: answer with the standings of the rebuilt books too
	Stop  bool        `json:",omitempty"`
}

// news is what a worker tells.
type news struct {
	Sample *swarm.Sample    `json:",omitempty"`
	Mark   int              `json:",omitempty"` // the sample is the answer to that order
	Books  []swarm.Standing `json:",omitempty"` // to an order for them; there may be none
	Joined bool             `json:",omitempty"`
	Failed string           `json:",omitempty"`
}

// sampleEvery is how often a worker tells its figures.
const sampleEvery = time.Second

// Work is the worker's side: it obeys the orders on in and tells its news on out,
// until it is told to stop, or in ends.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	orders := make(chan order)
	broken := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for d := json.NewDecoder(bufio.NewReader(in)); ; {
			var o order
			if err := d.Decode(&o); err != nil {
				broken <- err
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	tell := json.NewEncoder(out)
	err := work(ctx, orders, broken, tell)
	if err != nil {
		return errors.Join(err, tell.Encode(news{Failed: err.Error()}))
	}
	return nil
}

func work(ctx context.Context, orders <-chan order, broken <-chan error, tell *json.Encoder) error {
	var w *swarm.Swarm
	select {
	case o := <-orders:
		if o.Plan == nil {
			return errors.New("load: the first order has no plan")
		}
		var err error
		if w, err = swarm.New(*o.Plan); err != nil {
			return err
		}
	case err := <-broken:
		return err
	}
	defer w.Close()
	for second := time.NewTicker(sampleEvery); ; {
		var what news
		select {
		case <-ctx.Done():
			return nil
		case <-broken:
			return nil // who gave the orders is gone
		case err := <-w.Failed():
			return err
		case <-w.Joined():
			what.Joined = true
		case <-second.C:
			sample := w.Take()
			what.Sample = &sample
		case o := <-orders:
			if o.Step != "" {
				if err := w.Begin(o.Step); err != nil {
					return err
				}
			}
			if o.Mark != 0 || o.Stop {
				sample := w.Take()
				what.Sample, what.Mark = &sample, o.Mark
			}
			if o.Books {
				what.Books = w.Standings()
			}
			if o.Stop {
				return tell.Encode(what)
			}
		}
		if what.Sample == nil && !what.Joined {
			continue
		}
		if err := tell.Encode(what); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
}
