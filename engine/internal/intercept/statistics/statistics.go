//go:build linux && amd64

// Package statistics counts what a tracer does. Counting never waits and may be read at any time.
package statistics

import (
	"encoding/json"
	"os"
	"sync/atomic"

	"kins/engine/internal/intercept/calls"
)

// Counters is what one tracer has seen so far.
type Counters struct {
	Backend string
	// Order is seccomp-first or enter-first; empty where it does not matter.
	Order    string
	stops    [calls.Limit]atomic.Uint64
	matched  []atomic.Uint64
	failures atomic.Uint64
	now      atomic.Int64
	peak     atomic.Int64
}

// New returns counters for so many rules.
func New(rules int) *Counters {
	return &Counters{matched: make([]atomic.Uint64, rules)}
}

// Stop counts a system call that the filter has caught.
func (counters *Counters) Stop(number int) {
	counters.stops[number].Add(1)
}

// Match counts a call that a rule has changed.
func (counters *Counters) Match(rule int) {
	counters.matched[rule].Add(1)
}

// Failure counts a matched call that the tracer could not change.
func (counters *Counters) Failure() {
	counters.failures.Add(1)
}

// Tracees sets how many threads are traced now.
func (counters *Counters) Tracees(now int) {
	counters.now.Store(int64(now))
	if int64(now) > counters.peak.Load() {
		counters.peak.Store(int64(now))
	}
}

// document is the JSON form.
type document struct {
	Version  int               `json:"version"`
	Backend  string            `json:"backend"`
	Order    string            `json:"order"`
	Stops    map[string]uint64 `json:"stops"`
	Matched  []uint64          `json:"matched"`
	Failures uint64            `json:"failures"`
	Tracees  struct {
		Now  int64 `json:"now"`
		Peak int64 `json:"peak"`
	} `json:"tracees"`
}

// Write replaces a file by the counters as JSON: stops by call, matches by rule in the order of the rules file.
func (counters *Counters) Write(name string) error {
	written := document{
		Version:  1,
		Backend:  counters.Backend,
		Order:    counters.Order,
		Stops:    map[string]uint64{},
		Matched:  make([]uint64, len(counters.matched)),
		Failures: counters.failures.Load(),
	}
	for number := range counters.stops {
		if count := counters.stops[number].Load(); count > 0 {
			written.Stops[calls.ByNumber[number].Name] = count
		}
	}
	for index := range counters.matched {
		written.Matched[index] = counters.matched[index].Load()
	}
	written.Tracees.Now, written.Tracees.Peak = counters.now.Load(), counters.peak.Load()
	content, err := json.MarshalIndent(written, "", "  ")
	if err != nil {
		return err
	}
	temporary := name + ".new"
	if err := os.WriteFile(temporary, append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
