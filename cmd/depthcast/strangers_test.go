package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestFlagsOfAddressesThatMeanNothingAreRefused(t *testing.T) {
	for arguments, want := range map[string]string{
		"--trusted-proxy=10.0.0.1,2001:db8::/32":  "",
		"--exempt-address=":                       "",
		"--trusted-proxy=10.0.0.0/33":             "neither an address nor a range",
		"--trusted-proxy=proxy.example":           "neither an address nor a range",
		"--trusted-proxy=::ffff:10.0.0.1":         "write an IPv4 address as such",
		"--trusted-proxy=0.0.0.0/0":               "who trusts every address",
		"--proxy-protocol":                        "needs --trusted-proxy",
		"--client-address-header=x-real-ip":       "must be one of",
		"--proxy-protocol --trusted-proxy=10/8":   "neither an address nor a range",
		"--proxy-protocol --trusted-proxy=fd00::": "",
	} {
		var f struct {
			strangerFlags `embed:""`
		}
		parser, err := kong.New(&f, kong.Writers(&bytes.Buffer{}, &bytes.Buffer{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parser.Parse(strings.Fields(arguments)); err == nil {
			err = f.validate()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", arguments, err, want)
		}
	}
}
