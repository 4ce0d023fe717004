//go:build linux && amd64

package intercept_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// oneID begins a command that runs in a user namespace where there is one id only, and in a mount namespace of it.
var oneID = []string{"unshare", "--user", "--map-root-user", "--mount", "--"}

// identityTrial is a trial whose programs are told that they have changed ids. A directory to be given to them has a
// file, a link to it, and an empty directory.
func identityTrial(t *testing.T) *trial {
	t.Helper()
	t.Parallel()
	trial := newTrial(t, "ptrace")
	trial.rules = nil
	trial.rule("one_id", map[string]any{})
	trial.must(os.Mkdir(filepath.Join(trial.to, "mounted"), 0o755))
	return trial
}

func TestOneID(t *testing.T) {
	for kind, ending := range kinds {
		t.Run(kind, func(t *testing.T) {
			trial := identityTrial(t)
			trial.succeed(append(oneID, filepath.Join(programs, "identity"+ending), trial.to)...)
		})
	}
}

// TestOneIDFromInside is the way of a node: the tracer lives in the user namespace too.
func TestOneIDFromInside(t *testing.T) {
	trial := identityTrial(t)
	traced := trial.command(t.Context(), filepath.Join(programs, "identity"), trial.to)
	line := append(oneID, traced.Args...)
	if output, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestWithoutOneID shows that it is the rule that lets these calls succeed.
func TestWithoutOneID(t *testing.T) {
	trial := identityTrial(t)
	trial.rules = nil
	done := trial.run(append(oneID, filepath.Join(programs, "identity"), trial.to)...)
	for _, call := range []string{"chown", "fchownat", "setgroups", "setresuid", "setresgid", "setgroups of the library", "gid=5"} {
		if !strings.Contains(done.stdout, call+": -") {
			t.Errorf("%s did not fail: %s", call, done.stdout)
		}
	}
}

func TestOneIDForPrograms(t *testing.T) {
	trial := identityTrial(t)
	script := `cd "$0"; chown 101:102 file; chgrp -h 5 link; stat -c %u:%g file link
		mount -t devpts -o newinstance,gid=5,ptmxmode=0666 devpts mounted; stat -c %a:%g mounted/ptmx
		if chown 101 missing 2> /dev/null; then exit 3; fi
		setpriv --reuid 1000 --regid 1000 --groups 7,8 id -u`
	trial.expect("0:0\n0:0\n666:0\n0\n", append(oneID, "sh", "-euc", script, trial.to)...)
}

// TestOneIDAtAnotherRoot: unlike rules about files it goes on in a container.
func TestOneIDAtAnotherRoot(t *testing.T) {
	trial := identityTrial(t)
	trial.expect("0\n", append(oneID, program("chown-elsewhere", trial.to, "/file")...)...)
}

func chownElsewhere(arguments []string) int {
	err := errors.Join(unix.Chroot(arguments[0]), os.Chown(arguments[1], 101, 101), unix.Setgroups([]int{5}), unix.Setuid(101))
	fmt.Println(unix.Geteuid())
	return report(err)
}

func TestOneIDIsCounted(t *testing.T) {
	trial := identityTrial(t)
	trial.statistics = filepath.Join(trial.directory, "statistics.json")
	file := filepath.Join(trial.to, "file")
	trial.succeed(append(oneID, "sh", "-c", `chown 101 "$0"; chown 101 "$0-that-is-missing"; stat "$0"`, file)...)
	trial.eventually("the statistics", func() bool { return trial.counted() != nil })
	if counted := trial.counted(); counted.Matched[0] != 1 || counted.Stops["openat"] != 0 {
		t.Errorf("%+v", counted)
	}
}

func TestNotifyKnowsNoIDs(t *testing.T) {
	trial := identityTrial(t)
	trial.backend = "notify"
	done := trial.run("true")
	if done.status.ExitStatus() != 2 || !strings.Contains(done.stderr, "notify knows no rule about ids") {
		t.Errorf("exit %d: %s", done.status.ExitStatus(), done.stderr)
	}
}
