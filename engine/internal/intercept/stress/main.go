//go:build linux && amd64

// Stress is a program for the tests of the interception: many goroutines that read redirected and plain files of known
// content, and start children that do the same, for as long as they are told to. It checks every answer.
//
//	stress -prepare DIRECTORY                   makes the files and rules.json
//	kins-intercept --rules DIRECTORY/rules.json -- stress -directory DIRECTORY -seconds N
//
// It prints what it has done as JSON and fails when one answer was wrong.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	workers = 32
	files   = 2000
	// childrenEvery is how many reads of a worker come to one child.
	childrenEvery = 100
	// childReads is how many files a child reads.
	childReads = 20
	// childLimit is how long a child may take on a busy machine.
	childLimit = time.Minute
)

// The directories: what is below redirected does not exist, and target is read instead.
const (
	plain      = "plain"
	redirected = "redirected"
	target     = "target"
)

// counts is what has been done and checked.
type counts struct {
	Seconds    float64 `json:"seconds"`
	Plain      int64   `json:"plain"`
	Redirected int64   `json:"redirected"`
	Children   int64   `json:"children"`
	Wrong      int64   `json:"wrong"`
	First      string  `json:"first,omitempty"`
}

// run is one run.
type run struct {
	directory  string
	until      time.Time
	plain      atomic.Int64
	redirected atomic.Int64
	children   atomic.Int64
	wrong      atomic.Int64
	first      sync.Once
	text       string
}

func main() {
	prepared := flag.String("prepare", "", "make the files in this directory")
	directory := flag.String("directory", "", "where they are")
	seconds := flag.Float64("seconds", 10, "how long")
	minutes := flag.Float64("minutes", 0, "how long, instead of seconds")
	child := flag.Int("child", -1, "be a child with this seed")
	flag.Parse()
	var err error
	switch {
	case *prepared != "":
		err = prepare(*prepared)
	case *child >= 0:
		err = beChild(*directory, uint64(*child))
	default:
		length := time.Duration(*seconds * float64(time.Second))
		if *minutes > 0 {
			length = time.Duration(*minutes * float64(time.Minute))
		}
		err = stress(*directory, length)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// prepare makes the files, copies of this program among them, and the rules file.
func prepare(directory string) error {
	for _, kind := range []string{plain, target} {
		if err := os.MkdirAll(filepath.Join(directory, kind), 0o755); err != nil {
			return err
		}
		for number := range files {
			name := filepath.Join(directory, kind, strconv.Itoa(number))
			if err := os.WriteFile(name, content(kind, number), 0o644); err != nil {
				return err
			}
		}
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(directory, target, "program"), program, 0o755); err != nil {
		return err
	}
	rules := map[string]any{"version": 1, "rules": []any{map[string]any{"redirect": map[string]string{
		"from": filepath.Join(directory, redirected), "to": filepath.Join(directory, target),
	}}}}
	encoded, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "rules.json"), encoded, 0o644)
}

// content is what a file holds: its length and its bytes follow from its kind and number.
func content(kind string, number int) []byte {
	generator := rand.New(rand.NewPCG(uint64(number), uint64(len(kind))))
	bytes := make([]byte, 1+generator.IntN(3000))
	for index := range bytes {
		bytes[index] = byte(generator.Uint32())
	}
	return bytes
}

// stress runs all workers and reports.
func stress(directory string, length time.Duration) error {
	began := time.Now()
	current := &run{directory: directory, until: began.Add(length)}
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() { current.work(uint64(worker)) })
	}
	group.Wait()
	done := counts{
		time.Since(began).Seconds(), current.plain.Load(), current.redirected.Load(), current.children.Load(),
		current.wrong.Load(), current.text,
	}
	encoded, err := json.Marshal(done)
	if err != nil {
		return err
	}
	fmt.Println(string(encoded))
	switch {
	case done.Wrong > 0:
		return fmt.Errorf("%d wrong answers, the first: %s", done.Wrong, done.First)
	case done.Plain == 0 || done.Redirected == 0 || done.Children == 0:
		return errors.New("nothing was checked")
	}
	return nil
}

// work is one goroutine's life.
func (run *run) work(seed uint64) {
	generator := rand.New(rand.NewPCG(seed, uint64(run.until.UnixNano())))
	for count := 1; time.Now().Before(run.until); count++ {
		kind, counter := plain, &run.plain
		if generator.IntN(2) == 0 {
			kind, counter = redirected, &run.redirected
		}
		run.note(check(run.directory, kind, generator))
		counter.Add(1)
		if count%childrenEvery == 0 {
			run.note(run.startChild(generator))
			run.children.Add(1)
		}
	}
}

func (run *run) note(err error) {
	if err != nil {
		run.wrong.Add(1)
		run.first.Do(func() { run.text = err.Error() })
	}
}

// startChild runs a child to its end: this program by its own name, or its redirected copy.
func (run *run) startChild(generator *rand.Rand) error {
	program := "/proc/self/exe"
	if generator.IntN(2) == 0 {
		program = filepath.Join(run.directory, redirected, "program")
	}
	seed := strconv.Itoa(generator.IntN(1 << 30))
	command := exec.Command(program, "-directory", run.directory, "-child", seed)
	timer := time.AfterFunc(childLimit, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("child %s: %w: %s", seed, err, output)
	}
	if string(output) != seed+"\n" {
		return fmt.Errorf("child %s: printed %q", seed, output)
	}
	return nil
}

// beChild reads some files and prints its seed.
func beChild(directory string, seed uint64) error {
	generator := rand.New(rand.NewPCG(seed, 0))
	for count := range childReads {
		kind := plain
		if count%2 == 0 {
			kind = redirected
		}
		if err := check(directory, kind, generator); err != nil {
			return err
		}
	}
	fmt.Println(seed)
	return nil
}
