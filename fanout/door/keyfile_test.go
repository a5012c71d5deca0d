package door

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// replace writes a key file as one should: beside it, and then in its place.
func replace(t *testing.T, path, text string) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), "next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func entry(t *testing.T, user string, symbols ...string) (key, text string) {
	t.Helper()
	key, text, err := NewEntry(user, symbols)
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

func TestKeyGrantsWhatTheFileSays(t *testing.T) {
	alice, first := entry(t, "alice", "SIM:*")
	bob, second := entry(t, "bob", "*")
	carol, third := entry(t, "carol", "*")
	path := textFile(t, "keys:\n"+first+second+"  channels: [book, trades]\n  depth: 25\n  min_interval_ms: 100\n  connections: 2\n  delay_ms: 900000\n  expires: 2027-01-15T08:00:01Z\n"+
		third+"  expires: 2027-01-15T08:00:00Z\n")
	if text, _ := os.ReadFile(path); strings.Contains(string(text), alice) {
		t.Error("the file holds a key")
	}
	d := newDoor(t, Config{KeyFile: path})
	if g := admitted(t, d, alice, ByKey); g.User != "alice" || !g.Until.IsZero() || g.MaxDepth != 0 {
		t.Errorf("granted %+v", g)
	}
	g := admitted(t, d, bob, ByKey)
	if g.User != "bob" || g.MaxDepth != 25 || len(g.Channels) != 2 || g.MinInterval != 100*time.Millisecond || g.MaxConns != 2 || g.MinDelay != 15*time.Minute || !g.Until.Equal(now.Add(time.Second)) {
		t.Errorf("granted %+v", g)
	}
	admitted(t, d, carol, Expired) // it is 2027-01-15T08:00:00Z
	admitted(t, d, alice[:len(alice)-1], UnknownKey)
	admitted(t, d, hashOf(alice), UnknownKey)
	admitted(t, d, "", UnknownKey)
}

func TestKeyFileIsReadAnewWhenItChanges(t *testing.T) {
	alice, first := entry(t, "alice", "SIM:*")
	bob, second := entry(t, "bob", "*")
	path := textFile(t, "keys:\n"+first+second)
	changed := make(chan struct{}, 10)
	d := newDoor(t, Config{KeyFile: path, WatchEvery: time.Millisecond, Changed: func() { changed <- struct{}{} }})
	run(t, d)
	a, b := admitted(t, d, alice, ByKey), admitted(t, d, bob, ByKey)

	replace(t, path, "keys:\n"+strings.Replace(first, "SIM:*", "SIM:A", 1)+second)
	await(t, changed)
	if g := d.Present(a); g == a || g == nil || g.Symbols[0] != "SIM:A" {
		t.Errorf("alice has %+v", g)
	}
	if d.Present(b) != b {
		t.Error("bob's grant is another one, though nothing changed")
	}

	replace(t, path, "keys:\n"+second)
	await(t, changed)
	if d.Present(a) != nil || d.Present(b) != b {
		t.Error("alice's key holds, or bob's does not")
	}
	admitted(t, d, alice, UnknownKey)
}

func TestKeyFileThatIsBrokenLeavesTheLastOne(t *testing.T) {
	alice, first := entry(t, "alice", "SIM:*")
	path := textFile(t, "keys:\n"+first)
	d := newDoor(t, Config{KeyFile: path, WatchEvery: time.Millisecond, Changed: func() { t.Error("it changed") }})
	run(t, d)
	replace(t, path, "keys: [")
	until(t, func() bool { return d.stats.ReloadErrors.Load() > 0 })
	admitted(t, d, alice, ByKey)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	admitted(t, d, alice, ByKey)
	if d.Keys() != 1 || d.stats.Reloads.Load() != 0 {
		t.Errorf("%d keys, %d reloads", d.Keys(), d.stats.Reloads.Load())
	}
}

func TestKeyFileIsTakenWholeOrNotAtAll(t *testing.T) {
	_, good := entry(t, "alice", "*")
	hash := strings.Repeat("ab", 32)
	for name, text := range map[string]string{
		"an unknown member":  "keys:\n" + good + "  hours: 9-17\n",
		"a key in the clear": "keys:\n- user: a\n  sha256: dck_abc\n  symbols: ['*']\n",
		"a hash too short":   "keys:\n- user: a\n  sha256: abcd\n",
		"no user":            "keys:\n- sha256: " + hash + "\n",
		"the same key twice": "keys:\n" + good + good,
		"a bad pattern":      "keys:\n- {user: a, sha256: " + hash + ", symbols: ['a*b']}\n",
		"a bad channel":      "keys:\n- {user: a, sha256: " + hash + ", channels: [gossip]}\n",
		"a bad date":         "keys:\n- {user: a, sha256: " + hash + ", expires: soon}\n",
		"no YAML":            "\x00",
		"nothing":            "",
	} {
		if _, err := parseKeys([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "dck_") {
			t.Errorf("%s: the error tells of a key: %v", name, err)
		}
	}
	if _, err := New(Config{KeyFile: textFile(t, "keys: 1")}); !errors.Is(err, ErrFile) {
		t.Errorf("%v", err)
	}
	if table, err := parseKeys([]byte("keys: []\n")); err != nil || len(table.grants) != 0 {
		t.Errorf("a file without keys: %v", err)
	}
	var _ fanout.Gate = (*Door)(nil)
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
}
