package peer

import (
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestAccountsOfTheLastOnesAreRememberedAndNoMore(t *testing.T) {
	a := NewAccounts()
	counts := NewCounts(0, nets(t, "203.0.113.0/24"))
	counts.Keep(a)
	one, _ := counts.Enter(addr("2001:db8::1"))
	two, _ := counts.Enter(addr("2001:db8::2"))
	if one.Account() == nil || one.Account() != two.Account() {
		t.Error("a /64 has not one account")
	}
	if exempt, ok := counts.Enter(addr("203.0.113.1")); exempt != nil || !ok {
		t.Error("an exempt address is counted")
	}
	counts.Leave(one)
	counts.Leave(two)
	if again, _ := counts.Enter(addr("2001:db8::3")); again.Account() != one.Account() {
		t.Error("it is another's after the last connection has ended")
	}
	alice := a.OfUser("alice")
	for i := range 3 * maxRated {
		if i%(maxRated/2) == 0 && a.OfUser("alice") != alice {
			t.Fatal("forgotten, though asked for")
		}
		a.OfUser(strconv.Itoa(i))
	}
	if n := len(a.of.newer) + len(a.of.older); n > 2*maxRated || n <= maxRated {
		t.Errorf("%d are remembered", n)
	}
}

func TestAccountAddsUpWhatAllSpend(t *testing.T) {
	var a Account
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				a.Spend(time.Minute, time.Second)
			}
		})
	}
	all.Wait()
	if owed := a.Owed(2 * time.Minute); owed != 1000*time.Second-time.Minute {
		t.Errorf("%v is owed", owed)
	}
	a.Spend(2*time.Minute, -40*time.Second)
	if owed := a.Owed(15 * time.Minute); owed != 1000*time.Second-14*time.Minute-40*time.Second {
		t.Errorf("%v is owed after some was given back", owed)
	}
	if owed := a.Owed(time.Hour); owed != 0 {
		t.Errorf("%v is owed when all has come back", owed)
	}
	var nobody *Account
	if nobody.Spend(0, time.Hour); nobody.Owed(0) != 0 {
		t.Error("who has none owes")
	}
}

// However much an address is charged, it waits no longer than for some bursts.
func TestDebtsOfAnAddressAreBounded(t *testing.T) {
	r := NewRates(1, 4, nil)
	n, _ := NewCounts(1, nil).Enter(addr("198.51.100.1"))
	for range 1000 {
		r.Charge(n, 25)
	}
	if owed := -r.limiter(n.key).Tokens(); owed > (mostDebts+1)*4 || owed < (mostDebts-1)*4 {
		t.Errorf("%v are owed", owed)
	}
	if r.Allow(addr("198.51.100.1")) || !r.Allow(addr("198.51.100.2")) {
		t.Error("the wrong one is refused")
	}
	r.Charge(nil, 25)
}
