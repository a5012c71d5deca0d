package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/fanout/door"
)

// authFlags say who may have what. Without any of the keys everybody may have
// everything.
type authFlags struct {
	AuthKeys         string        `help:"YAML file of API keys, by their hashes (see the command key); read anew when it changes." type:"existingfile" placeholder:"FILE"`
	AuthJWTSecret    string        `help:"File with the secret of JWTs signed with HS256, at least 32 bytes; read anew when it changes." name:"auth-jwt-secret" type:"existingfile" placeholder:"FILE"`
	AuthJWTKey       []string      `help:"PEM files with public keys of JWTs signed with RS256, ES256 or EdDSA; read anew when they change." name:"auth-jwt-key" type:"existingfile" placeholder:"FILE"`
	AuthJWKS         string        `help:"URL of a JSON Web Key Set with such keys, fetched again and again." name:"auth-jwks" placeholder:"https://HOST/PATH"`
	AuthIssuer       string        `help:"What iss of a JWT must be." placeholder:"ISSUER"`
	AuthAudience     string        `help:"What aud of a JWT must name." placeholder:"AUDIENCE"`
	AuthLeeway       time.Duration `help:"By how much the clock of who issues JWTs may differ." default:"10s"`
	AuthJWKSInterval time.Duration `help:"How often the JSON Web Key Set is fetched." name:"auth-jwks-interval" default:"5m"`
	AuthTimeout      time.Duration `help:"How long a client whose handshake brought no token may take to send one. 0: the handshake must bring it." default:"5s"`
	AuthCookie       string        `help:"Cookie that may bring a token; empty: none." default:"depthcast_token" placeholder:"NAME"`
	UsageLog         string        `help:"File to append to, which user had which symbol for how long; only of users with tokens. Empty: none." placeholder:"FILE"`
	UsageInterval    time.Duration `help:"How often that is written." default:"1h"`
}

// authority is who decides and who counts what users have.
type authority struct {
	door  *door.Door  // nil: everybody may have everything
	usage *door.Usage // nil: nobody counts
}

// authority reads the keys. Changed is told when some were taken back.
func (f *authFlags) authority(delay time.Duration, changed func()) (authority, error) {
	var a authority
	c := door.Config{
		KeyFile: f.AuthKeys, SecretFile: f.AuthJWTSecret, PublicKeyFiles: f.AuthJWTKey, JWKS: f.AuthJWKS, Issuer: f.AuthIssuer, Audience: f.AuthAudience,
		Leeway: f.AuthLeeway, RefreshEvery: f.AuthJWKSInterval, Changed: changed, Log: slog.Default(),
	}
	switch none := c.KeyFile == "" && c.SecretFile == "" && len(c.PublicKeyFiles) == 0 && c.JWKS == ""; {
	case none && (f.AuthIssuer != "" || f.AuthAudience != "" || f.UsageLog != ""):
		return a, errors.New("--auth-issuer, --auth-audience and --usage-log are of no use without keys: give --auth-keys, --auth-jwks, --auth-jwt-key or --auth-jwt-secret")
	case none:
		return a, nil
	}
	var err error
	if a.door, err = door.New(c); err != nil {
		return a, err
	}
	if f.UsageLog != "" {
		a.usage, err = door.NewUsage(door.UsageConfig{Path: f.UsageLog, Every: f.UsageInterval, Delay: delay, Log: slog.Default()})
	}
	return a, err
}

// guard sets what a hub needs to know of a.
func (a authority) guard(c *fanout.Config) {
	if a.door != nil {
		c.Gate = a.door
	}
	if a.usage != nil {
		c.Meter = a.usage
	}
}

// run keeps a up to date until ctx ends; what was counted is then written.
func (a authority) run(ctx context.Context) {
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		if a.usage != nil {
			a.usage.Run(ctx)
		}
	}()
	if a.door != nil {
		a.door.Run(ctx)
	}
	<-counted
}

// keyCmd is `depthcast key`.
type keyCmd struct {
	User    string   `arg:"" help:"Whose key it is."`
	Symbols []string `help:"Symbols or patterns that it grants." default:"*" placeholder:"SYMBOL"`
}

// Run draws a key and shows it once, with its entry in the key file.
func (c *keyCmd) Run(stdout io.Writer) error {
	key, entry, err := door.NewEntry(c.User, c.Symbols)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "# the key, which nobody can show again: give it to %s\n# %s\n# its entry in the file of --auth-keys:\n%s", c.User, key, entry)
	return err
}
