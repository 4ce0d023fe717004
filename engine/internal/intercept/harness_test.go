//go:build linux && amd64

package intercept_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kins/engine/internal/intercept"
)

// This test's program is also kins-intercept, and the programs of Go that run under it, so that one static file is all
// that a sandbox without a toolchain needs. The programs in C are compiled here, or lie ready in this directory:
const programsVariable = "KINS_INTERCEPT_PROGRAMS"

// First arguments by which the test's program is something else.
const (
	asIntercept = "as-kins-intercept"
	asProgram   = "as-program"
)

// patience is how long a test waits for what should take far less than a second.
const patience = 30 * time.Second

func init() {
	// As in the real main: the stub and the tracer need the first thread.
	runtime.LockOSThread()
}

var programs string

func TestMain(main *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asIntercept:
			os.Args = append(os.Args[:1], os.Args[2:]...)
			os.Exit(intercept.Main())
		case asProgram:
			os.Exit(goPrograms[os.Args[2]](os.Args[3:]))
		case "tracer", "stub", "answer":
			os.Exit(intercept.Main())
		}
	}
	os.Exit(runTests(main))
}

// runTests compiles the programs in C first.
func runTests(main *testing.M) int {
	for _, number := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(number) {
			// A shell starts background jobs so, and nohup everything; the programs would inherit it.
			signal.Notify(make(chan os.Signal, 1), number)
		}
	}
	if programs = os.Getenv(programsVariable); programs != "" {
		return main.Run()
	}
	directory, err := os.MkdirTemp("", "kins-intercept-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	if output, err := exec.Command("testdata/compile", directory).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "testdata/compile: %v\n%s", err, output)
		return 1
	}
	programs = directory
	return main.Run()
}

// trial is one directory of files and rules about them.
type trial struct {
	*testing.T
	backend string
	// directory holds everything; below from nothing exists, and to is read instead.
	directory, from, to string
	rules               []map[string]any
	// statistics is where the tracer writes its counters, if anywhere: it does so after the command has ended.
	statistics string
}

// backends are those that this kernel has.
var backends = sync.OnceValue(func() []string {
	content, err := exec.Command(executable(), asIntercept, "probe").Output()
	var probed struct{ Ptrace, Notify bool }
	if err == nil {
		err = json.Unmarshal(content, &probed)
	}
	if err != nil || !probed.Ptrace {
		panic(fmt.Sprintf("kins-intercept probe: %v, %s", err, content))
	}
	if probed.Notify {
		return []string{"ptrace", "notify"}
	}
	return []string{"ptrace"}
})

// each runs a test with every backend.
func each(t *testing.T, test func(trial *trial)) {
	t.Helper()
	for _, backend := range backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(newTrial(t, backend))
		})
	}
}

// newTrial makes the files: file ("redirected\n"), link (to file), fifo, and directory/inner ("inner\n").
func newTrial(t *testing.T, backend string) *trial {
	t.Helper()
	directory := t.TempDir()
	trial := &trial{
		T: t, backend: backend, directory: directory,
		from: filepath.Join(directory, "from"), to: filepath.Join(directory, "a-longer-name-than-that"),
	}
	trial.must(os.MkdirAll(filepath.Join(trial.to, "directory"), 0o755))
	trial.write(filepath.Join(trial.to, "file"), "redirected\n")
	trial.write(filepath.Join(trial.to, "directory", "inner"), "inner\n")
	trial.must(os.Symlink("file", filepath.Join(trial.to, "link")))
	trial.must(syscall.Mkfifo(filepath.Join(trial.to, "fifo"), 0o600))
	trial.redirect(trial.from, trial.to)
	return trial
}

// needsExecution is for tests that execute a redirected program or go to a redirected directory.
func (trial *trial) needsExecution() {
	trial.Helper()
	if trial.backend == "notify" {
		trial.Skip("a supervisor cannot do that in another's place")
	}
}

func (trial *trial) must(err error) {
	trial.Helper()
	if err != nil {
		trial.Fatal(err)
	}
}

func (trial *trial) write(name, content string) {
	trial.Helper()
	trial.must(os.WriteFile(name, []byte(content), 0o644))
}

// install copies a program to a place below to, as `program`.
func (trial *trial) install(program string) {
	trial.Helper()
	content, err := os.ReadFile(program)
	trial.must(err)
	trial.executable(filepath.Join(trial.to, "program"), content)
}

// executable writes a program while no parallel test forks: a child has the open file until its exec, and whoever runs
// the program in that moment is told "text file busy".
func (trial *trial) executable(name string, content []byte) {
	trial.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	trial.must(os.WriteFile(name, content, 0o755))
}

func (trial *trial) rule(kind string, members map[string]any) {
	trial.rules = append(trial.rules, map[string]any{kind: members})
}

func (trial *trial) redirect(from, to string) {
	trial.rule("redirect", map[string]any{"from": from, "to": to})
}

// executable is the test's program.
func executable() string {
	name, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return name
}

// command returns a command under the interception.
func (trial *trial) command(context context.Context, arguments ...string) *exec.Cmd {
	trial.Helper()
	content, err := json.Marshal(map[string]any{"version": 1, "rules": trial.rules})
	trial.must(err)
	rules := filepath.Join(trial.directory, "rules.json")
	trial.write(rules, string(content))
	line := []string{asIntercept, "--backend", trial.backend, "--rules", rules}
	if trial.statistics != "" {
		line = append(line, "--statistics", trial.statistics)
	}
	command := exec.CommandContext(context, executable(), append(append(line, "--"), arguments...)...)
	// After patience has ended. Until then, whoever holds the output open holds the test up.
	command.WaitDelay = time.Second
	return command
}

// outcome is how a command under the interception has ended.
type outcome struct {
	stdout, stderr string
	status         syscall.WaitStatus
}

// run waits for a command under the interception.
func (trial *trial) run(arguments ...string) outcome {
	trial.Helper()
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := trial.command(limited, arguments...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || limited.Err() != nil {
		trial.Fatalf("%v: %v, %v\n%s%s", arguments, err, limited.Err(), &stdout, &stderr)
	}
	return outcome{stdout.String(), stderr.String(), command.ProcessState.Sys().(syscall.WaitStatus)}
}

// succeed is run for a command that must end with status 0. It returns its output.
func (trial *trial) succeed(arguments ...string) string {
	trial.Helper()
	done := trial.run(arguments...)
	if done.status != 0 {
		trial.Fatalf("%v: wait status %#x\n%s%s", arguments, done.status, done.stdout, done.stderr)
	}
	return done.stdout
}

// expect is succeed for a command that must print this.
func (trial *trial) expect(wanted string, arguments ...string) {
	trial.Helper()
	if output := trial.succeed(arguments...); output != wanted {
		trial.Fatalf("%v: %q instead of %q", arguments, output, wanted)
	}
}

// program is the command line of one of the Go programs.
func program(name string, arguments ...string) []string {
	return append([]string{executable(), asProgram, name}, arguments...)
}

// eventually waits until something holds.
func (trial *trial) eventually(what string, holds func() bool) {
	trial.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			trial.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// state is the letter of a process's state (proc_pid_stat(5)); empty where there is none, Z where nobody has asked yet.
func state(pid int) string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(content), ") ")
	return rest[:1]
}

// isGone says whether a process has ended.
func isGone(pid int) bool {
	return state(pid) == "" || state(pid) == "Z"
}
