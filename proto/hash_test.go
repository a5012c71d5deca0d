package proto

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

type hashVectors struct {
	Mix []struct {
		Side       Side
		Price, Qty string
		Mix        string
	}
	Books []struct {
		Name       string
		Bids, Asks [][2]string
		Hash       string
	}
}

func TestHashMatchesThePublishedVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/state-hash.json")
	if err != nil {
		t.Fatal(err)
	}
	var v hashVectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Mix) < 8 || len(v.Books) < 9 {
		t.Fatalf("%d mix and %d book vectors: some are missing", len(v.Mix), len(v.Books))
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	hash := func(s string) uint32 {
		n, err := strconv.ParseUint(s, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	levels := func(pairs [][2]string) (out []Level) {
		for _, p := range pairs {
			out = append(out, Level{Price: number(p[0]), Qty: number(p[1])})
		}
		return out
	}
	for _, m := range v.Mix {
		if got, want := Mix(m.Side, number(m.Price), number(m.Qty)), hash(m.Mix); got != want {
			t.Errorf("Mix(%d, %s, %s) = %08x, want %08x", m.Side, m.Price, m.Qty, got, want)
		}
	}
	for _, b := range v.Books {
		if got, want := HashLevels(levels(b.Bids), levels(b.Asks)), hash(b.Hash); got != want {
			t.Errorf("%s: %08x, want %08x", b.Name, got, want)
		}
	}
}

func TestHashKeptIncrementallyEqualsHashOfAllLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	book := map[Side]map[int64]int64{Bid: {}, Ask: {}}
	var h uint32
	for range 5000 {
		side, price, qty := Bid+Side(r.IntN(2)), r.Int64N(50)-25, max(0, r.Int64N(20)-6)
		h += Mix(side, price, qty) - Mix(side, price, book[side][price])
		book[side][price] = qty
		var bids, asks []Level
		for p, q := range book[Bid] {
			bids = append(bids, Level{Price: p, Qty: q})
		}
		for p, q := range book[Ask] {
			asks = append(asks, Level{Price: p, Qty: q})
		}
		if want := HashLevels(bids, asks); h != want {
			t.Fatalf("kept %08x, levels say %08x", h, want)
		}
	}
}
