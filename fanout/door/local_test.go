package door

import (
	"os"
	"testing"
	"time"
)

func TestKeysForJWTsAreReadAnewWhenTheirFilesChange(t *testing.T) {
	first, second := newSigner(t, ""), newSigner(t, "")
	secret := signers()["HS256"]
	path, secretPath := textFile(t, pemOf(t, first.public())), secretFile(t, secret)
	changed := make(chan struct{}, 10)
	d := newDoor(t, Config{
		PublicKeyFiles: []string{path}, SecretFile: secretPath, WatchEvery: time.Millisecond, Changed: func() { changed <- struct{}{} },
	})
	run(t, d)
	one, common := admitted(t, d, first.sign(nil), ByJWT), admitted(t, d, secret.sign(nil), ByJWT)
	admitted(t, d, second.sign(nil), Signature)

	replace(t, path, pemOf(t, second.public(), first.public()))
	await(t, changed)
	two := admitted(t, d, second.sign(nil), ByJWT)
	if d.Present(one) != one || d.Present(two) != two || d.Present(common) != common {
		t.Error("a token whose key is there does not hold")
	}
	admitted(t, d, first.sign(nil), ByJWT) // not the first in its file

	replace(t, path, pemOf(t, second.public()))
	await(t, changed)
	if d.Present(one) != nil || d.Present(two) != two || d.Present(common) != common {
		t.Error("the first token holds without its key, or another does not")
	}
	admitted(t, d, first.sign(nil), Signature)

	replace(t, secretPath, "another secret, which is as long as that")
	await(t, changed)
	if d.Present(common) != nil || d.Present(two) != two {
		t.Error("a token holds without its secret, or another does not")
	}
	admitted(t, d, secret.sign(nil), Signature)
}

func TestKeysForJWTsThatCannotBeReadLeaveTheLastOnes(t *testing.T) {
	s := newSigner(t, "")
	path, secretPath := textFile(t, pemOf(t, s.public())), secretFile(t, signers()["HS256"])
	d := newDoor(t, Config{
		PublicKeyFiles: []string{path}, SecretFile: secretPath, WatchEvery: time.Millisecond, Changed: func() { t.Error("it changed") },
	})
	run(t, d)
	g := admitted(t, d, s.sign(nil), ByJWT)
	failed := uint64(0)
	for _, text := range []string{"no PEM", "", pemOf(t, newSigner(t, "").public()) + "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		replace(t, path, text)
		failed++
		until(t, func() bool { return d.stats.LocalReloadErrors.Load() == failed })
		if d.Present(g) != g {
			t.Errorf("%q ends what holds", text)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	admitted(t, d, s.sign(nil), ByJWT)
	if n := d.stats.LocalReloads.Load(); n != 0 {
		t.Errorf("%d reloads", n)
	}
}
