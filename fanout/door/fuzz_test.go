package door

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// Whatever comes as a token, it is refused unless it is one that was signed here,
// and nothing panics.
func FuzzToken(f *testing.F) {
	d := newDoor(f, Config{
		SecretFile:     secretFile(f, signers()["HS256"]),
		PublicKeyFiles: []string{publicFile(f, signers()["ES256"].public(), signers()["EdDSA"].public(), signers()["RS256"].public())},
	})
	good := map[string]bool{} // what is signed; signatures of ES256 differ from one process to another
	for _, name := range []string{"HS256", "ES256", "EdDSA", "RS256"} {
		token := signers()[name].sign(nil)
		end := strings.LastIndexByte(token, '.')
		good[token[:end]] = true
		f.Add(token)
		f.Add(token[:end/2])
		f.Add(token[:end+1])
	}
	for _, token := range []string{"", "a", "..", "a.b.c", "e30.e30.", unsigned(map[string]any{"alg": "none"}, ""), "dck_" + strings.Repeat("A", 43)} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		g, err := d.Admit(context.Background(), token)
		if g != nil && !good[token[:strings.LastIndexByte(token, '.')]] {
			t.Errorf("%q grants %v", token, g)
		}
		if g == nil && (err == nil || len(err.Error()) > 100) {
			t.Errorf("%v", err)
		}
	})
}

// Whatever an issuer signs, it grants what its claims say to whom they name, or
// nothing.
func FuzzClaims(f *testing.F) {
	secret := signers()["HS256"]
	d := newDoor(f, Config{SecretFile: secretFile(f, secret)})
	good := `{"iss":"https://issuer.example","aud":["a","depthcast"],"sub":"alice","exp":1800003600,"nbf":1800000000,"depthcast":{"symbols":["SIM:*"],"channels":["book"],"depth":25,"min_interval_ms":100,"connections":5,"delay_ms":0}}`
	for _, claims := range []string{
		good, `{}`, `null`, `[]`, `{"iss":5}`, strings.Replace(good, `["a","depthcast"]`, `"depthcast"`, 1), strings.Replace(good, "1800003600", "1.8000036e9", 1),
		strings.Replace(good, `"exp"`, `"Sub":"eve","ſub":"eve","exp"`, 1), strings.Replace(good, `"depth":25`, `"Depth":25`, 1), strings.Replace(good, `"depth":25`, `"depth":0`, 1),
		strings.Replace(good, "1800003600", "1e300", 1), strings.Replace(good, `"alice"`, `"\u202e"`, 1), strings.Replace(good, `"SIM:*"`, `"*:*"`, 1),
	} {
		f.Add(`{"alg":"HS256","typ":"JWT"}`, claims)
	}
	f.Add(`{"alg":"HS256","crit":["exp"]}`, good)
	f.Add(`{"alg":"none"}`, good)
	f.Add(`{"alg":"HS256","kid":5}`, good)
	f.Fuzz(func(t *testing.T, header, text string) {
		signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
		signature, err := jwt.SigningMethodHS256.Sign(signed, secret.key)
		if err != nil {
			t.Fatal(err)
		}
		g, err := d.Admit(context.Background(), signed+"."+base64.RawURLEncoding.EncodeToString(signature))
		if g == nil {
			if err == nil || len(err.Error()) > 100 {
				t.Errorf("%v", err)
			}
			return
		}
		var h, c map[string]any
		if json.Unmarshal([]byte(header), &h) != nil || json.Unmarshal([]byte(text), &c) != nil {
			t.Fatalf("%s, %s is no JSON", header, text)
		}
		if _, critical := h["crit"]; critical || h["alg"] != "HS256" {
			t.Errorf("the header %s is taken", header)
		}
		audiences, _ := c["aud"].([]any)
		end, _ := c["exp"].(float64)
		begin, _ := c["nbf"].(float64)
		if c["iss"] != issuer || c["aud"] != audience && !slices.Contains(audiences, any(audience)) || end <= float64(now.Unix()) || begin >= float64(now.Unix()+1) || c["sub"] != g.User {
			t.Errorf("%s grants %+v", text, g)
		}
		terms, _ := c["depthcast"].(map[string]any)
		symbols, _ := terms["symbols"].([]any)
		depth, _ := terms["depth"].(float64)
		if len(symbols) != len(g.Symbols) || uint32(depth) != g.MaxDepth || d.Present(g) != g || float64(g.Until.Unix()) > end {
			t.Errorf("%s grants %+v", text, g)
		}
		for name := range terms {
			if !slices.Contains([]string{"symbols", "channels", "depth", "min_interval_ms", "connections", "delay_ms"}, name) {
				t.Errorf("%s is taken", text)
			}
		}
	})
}
