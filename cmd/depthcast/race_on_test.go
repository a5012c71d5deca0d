//go:build race

package main

// underRace: the race detector makes replays some ten times slower.
const underRace = true
