// Package door says who may have what: it is the fanout.Gate of a server that does
// not serve everybody.
//
//	token ──> a key of the key file? ──────────────────────────> its terms ──┐
//	      └─> a JWT: algorithm ─> key ─> signature ─> iss aud    ─> claims ──┴─> fanout.Grant
//	           exp nbf, within the leeway
//
// Keys come from files (a secret, public keys), which are read anew when they change,
// as the key file is, and from a JWKS over HTTP, which is fetched anew at intervals and
// when a token names a key that is not known. What a key has checked ends with the key.
//
// A refusal is counted by its reason, which the log is told too; a client is not,
// and neither ever holds the token.
package door
