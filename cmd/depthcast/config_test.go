package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parse parses a command line with a configuration file of text.
func parse(t *testing.T, text string, args ...string) (*cli, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "depthcast.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("DEPTHCAST"), kong.Configuration(loadFlags), kong.Vars{"version": version})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append(args, "--config", path))
	return &c, err
}

func TestFlagsComeFromCommandLineThenEnvironmentThenFile(t *testing.T) {
	file := "listen: \":1\"\nmax-conns: 7\nserve:\n  max-conns: 8\n  kafka-topic: [a, b]\nlog-format: json\n"
	c, err := parse(t, file, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c.Serve.Listen != ":1" || c.Serve.MaxConns != 8 || strings.Join(c.Serve.KafkaTopic, " ") != "a b" || c.LogFormat != "json" {
		t.Errorf("from the file: %q %d %v %q", c.Serve.Listen, c.Serve.MaxConns, c.Serve.KafkaTopic, c.LogFormat)
	}
	if c, _ := parse(t, file, "demo"); c.Demo.MaxConns != 7 {
		t.Errorf("a value for serve reached demo, or the general one did not: %d", c.Demo.MaxConns)
	}
	t.Setenv("DEPTHCAST_LISTEN", ":2")
	if c, _ := parse(t, file, "serve"); c.Serve.Listen != ":2" {
		t.Errorf("the file came before the environment: %q", c.Serve.Listen)
	}
	if c, _ := parse(t, file, "serve", "--listen", ":3"); c.Serve.Listen != ":3" {
		t.Errorf("the command line did not come first: %q", c.Serve.Listen)
	}
}

func TestFileWithUnknownNamesIsRefused(t *testing.T) {
	for file, want := range map[string]string{
		"lisen: x":              "no flag --lisen",
		"serve:\n  speed: 1":    "serve has no flag --speed",
		"serve: 3":              "serve is a command",
		"listen: [":             "--config",
		"feed-sim:\n  depth: 1": "feed-sim has no flag --depth",
	} {
		if _, err := parse(t, file, "serve"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
}
