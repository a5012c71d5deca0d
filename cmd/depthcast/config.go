package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// fileFlags are the flags in the YAML file of --config: a mapping of flag names to
// values. A command's name (feed sim: "feed-sim") may hold a mapping of its own,
// which comes before the general one. Flags on the command line and environment
// variables come before both.
type fileFlags map[string]any

// loadFlags is the kong.ConfigurationLoader of YAML files.
func loadFlags(r io.Reader) (kong.Resolver, error) {
	f := map[string]any{} // nested mappings get the type of the outer one
	if err := yaml.NewDecoder(r).Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return fileFlags(f), nil
}

// Validate refuses names that no command knows.
func (f fileFlags) Validate(app *kong.Application) error {
	known := map[string][]string{} // flags by command
	all := []string{}
	collectFlags(app.Node, nil, nil, func(command string, flags []string) {
		known[command] = flags
		all = append(all, flags...)
	})
	for key, value := range f {
		if known[key] == nil {
			if !slices.Contains(all, key) {
				return fmt.Errorf("--config: there is no flag --%s", key)
			}
			continue
		}
		inner, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("--config: %s is a command: below it go its flags", key)
		}
		for name := range inner {
			if !slices.Contains(known[key], name) {
				return fmt.Errorf("--config: the command %s has no flag --%s", key, name)
			}
		}
	}
	return nil
}

// collectFlags tells the flags of every command below n, inherited ones included.
func collectFlags(n *kong.Node, path, inherited []string, tell func(command string, flags []string)) {
	flags := slices.Clone(inherited)
	for _, flag := range n.Flags {
		flags = append(flags, flag.Name)
	}
	if len(path) > 0 {
		tell(strings.Join(path, "-"), flags)
	}
	for _, child := range n.Children {
		collectFlags(child, append(slices.Clone(path), child.Name), flags, tell)
	}
}

// Resolve returns the file's value of a flag that neither the command line nor the
// environment gives; nil: it has none.
func (f fileFlags) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := os.LookupEnv(name); return set }) {
		return nil, nil
	}
	var path []string
	for n := parent.Node(); n != nil && n.Type != kong.ApplicationNode; n = n.Parent {
		path = append([]string{n.Name}, path...)
	}
	command, _ := f[strings.Join(path, "-")].(map[string]any)
	if value, ok := command[flag.Name]; ok {
		return value, nil
	}
	return f[flag.Name], nil
}
