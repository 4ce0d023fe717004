//go:build linux && amd64

package intercept_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// kinds are the ways to build a program in C, by the ending of its name.
var kinds = map[string]string{"glibc, dynamic": "", "glibc, static": "-static", "musl": "-musl"}

// eachKind runs a test with a program in C of each kind.
func eachKind(t *testing.T, name string, test func(trial *trial, program string)) {
	t.Helper()
	for kind, ending := range kinds {
		t.Run(kind, func(t *testing.T) {
			each(t, func(trial *trial) { test(trial, filepath.Join(programs, name+ending)) })
		})
	}
}

func TestEveryCallIsRedirectedAndItsRegistersRestored(t *testing.T) {
	eachKind(t, "calls", func(trial *trial, program string) {
		trial.install(program)
		if trial.backend == "notify" {
			trial.succeed("env", "WITHOUT_EXECUTION=1", program, trial.from)
			return
		}
		trial.succeed(program, trial.from)
	})
}

func TestPathsAtTheEdgesOfMemory(t *testing.T) {
	eachKind(t, "edges", func(trial *trial, program string) {
		trial.succeed(program, filepath.Join(trial.from, "file"))
	})
}

func TestShellScriptAndItsChildren(t *testing.T) {
	each(t, func(trial *trial) {
		trial.needsExecution()
		script := `cat "$0/file"; (cd "$0/directory" && cat inner ../file); test -e "$0/missing" || echo missing
			for number in 1 2 3; do cat < "$0/directory/inner" & done; wait`
		trial.expect("redirected\ninner\nredirected\nmissing\ninner\ninner\ninner\n", "sh", "-c", script, trial.from)
	})
}

func TestRedirectedScript(t *testing.T) {
	each(t, func(trial *trial) {
		trial.needsExecution()
		script := filepath.Join(trial.to, "script")
		trial.executable(script, []byte("#!/bin/sh\necho \"$@\"; cat \"${0%/*}/file\"\n"))
		trial.expect("a b\nredirected\n", filepath.Join(trial.from, "script"), "a", "b")
	})
}

func TestStaticGo(t *testing.T) {
	each(t, func(trial *trial) {
		trial.expect("redirected\n", program("cat", filepath.Join(trial.from, "file"))...)
	})
}

func TestWriting(t *testing.T) {
	each(t, func(trial *trial) {
		trial.succeed("sh", "-c", `echo new > "$0/file"; echo more >> "$0/file"; echo made > "$0/made"`, trial.from)
		for name, wanted := range map[string]string{"file": "new\nmore\n", "made": "made\n"} {
			content, err := os.ReadFile(filepath.Join(trial.to, name))
			trial.must(err)
			if string(content) != wanted {
				trial.Errorf("%s: %q", name, content)
			}
		}
	})
}

func TestOneFileAndWhatOnlyBeginsLikeIt(t *testing.T) {
	each(t, func(trial *trial) {
		trial.rules = nil
		one, other := filepath.Join(trial.directory, "one"), filepath.Join(trial.directory, "one-more")
		trial.write(one, "one\n")
		trial.write(other, "other\n")
		trial.redirect(one, filepath.Join(trial.to, "file"))
		trial.expect("redirected\nother\n", "cat", one, other)
	})
}

func TestTheFirstRuleWins(t *testing.T) {
	each(t, func(trial *trial) {
		trial.rules = nil
		trial.redirect(filepath.Join(trial.from, "file"), filepath.Join(trial.to, "directory", "inner"))
		trial.redirect(trial.from, trial.to)
		trial.redirect(trial.from, "/nowhere")
		trial.expect("inner\nredirected\n", "cat", filepath.Join(trial.from, "file"), filepath.Join(trial.from, "link"))
	})
}

func TestDotsAndSlashes(t *testing.T) {
	each(t, func(trial *trial) {
		untidy := trial.from + "//./directory/../../from/directory/./inner"
		trial.expect("inner\n", "cat", untidy)
		if done := trial.run("ls", filepath.Join(trial.from, "file")+"/"); done.status == 0 {
			trial.Errorf("a file with a final slash: %q", done.stdout)
		}
	})
}

func TestOverlay(t *testing.T) {
	each(t, func(trial *trial) {
		trial.rules = nil
		original := filepath.Join(trial.directory, "original")
		trial.must(os.Mkdir(original, 0o755))
		trial.write(filepath.Join(original, "file"), "original\n")
		trial.write(filepath.Join(original, "own"), "own\n")
		trial.rule("redirect", map[string]any{"from": original, "to": trial.to, "only_existing": true})
		trial.expect("redirected\nown\ninner\n", "cat",
			filepath.Join(original, "file"), filepath.Join(original, "own"), filepath.Join(original, "directory", "inner"))
		// In the directory, both must be found too.
		trial.expect("redirected\nown\n", "sh", "-c", `cd "$0" && cat file own`, original)
	})
}

// TestProcesses redirects a file of every process, as the emulated control groups need it.
func TestProcesses(t *testing.T) {
	each(t, func(trial *trial) {
		trial.redirect("/proc/*/cgroup", trial.to+"/processes/*/cgroup")
		script := `mkdir -p "$0/processes/$$"; echo "of $$" > "$0/processes/$$/cgroup"
			read -r self < /proc/self/cgroup; read -r thread < /proc/thread-self/cgroup; read -r number < /proc/$$/cgroup
			cd /proc/self; read -r relative < cgroup
			test "$self" = "of $$" -a "$thread" = "$self" -a "$number" = "$self" -a "$relative" = "$self"
			! cat /proc/1/cgroup 2> /dev/null`
		trial.succeed("sh", "-euc", script, trial.to)
	})
}

// TestAThreadIsItsProcess: /proc/self means the process in all of its threads, and a thread's number too.
func TestAThreadIsItsProcess(t *testing.T) {
	each(t, func(trial *trial) {
		trial.redirect("/proc/*/cgroup", trial.to+"/processes/*/cgroup")
		trial.succeed(program("thread-cgroup", trial.to)...)
	})
}

func TestDescriptorOfADirectoryThatIsGone(t *testing.T) {
	each(t, func(trial *trial) {
		script := `mkdir "$0/gone" && cd "$0/gone" && rmdir "$0/gone" && ! cat file 2> /dev/null`
		trial.succeed("sh", "-euc", script, trial.directory)
	})
}

func TestManyCallsUnderWayAtOnce(t *testing.T) {
	eachKind(t, "waiting", func(trial *trial, program string) {
		trial.succeed(program, trial.from, trial.to)
	})
}

func TestUname(t *testing.T) {
	each(t, func(trial *trial) {
		trial.rule("uname", map[string]any{"release": "6.1.0-kins"})
		plain := trial.succeed("sh", "-c", "uname -s; uname -n; uname -v; uname -m")
		trial.expect("6.1.0-kins\n", "uname", "-r")
		trial.rules = nil
		trial.expect(plain, "sh", "-c", "uname -s; uname -n; uname -v; uname -m")
	})
}

func TestFileSystemTypes(t *testing.T) {
	const ext4, nfs, proc = 0xEF53, 0x6969, 0x9fa0
	each(t, func(trial *trial) {
		typeOf := func(name string) string {
			return trial.succeed(program("types", name)...)
		}
		both := func(number int) string { return fmt.Sprintf("%#x %#x\n", number, number) }
		plain := typeOf("/proc")
		if plain != both(proc) {
			trial.Fatalf("/proc is %s", plain)
		}
		root := typeOf("/")
		trial.rule("statfs", map[string]any{"path": trial.directory, "type": nfs})
		trial.rule("statfs", map[string]any{"mount": "/proc", "type": ext4})
		for name, wanted := range map[string]string{
			trial.directory: both(nfs), trial.to + "/file": both(nfs), trial.from + "/file": both(nfs),
			"/proc/self/status": both(ext4), "/": root,
		} {
			if answer := typeOf(name); answer != wanted {
				trial.Errorf("%s: %q instead of %q", name, answer, wanted)
			}
		}
		trial.rules = nil
		trial.rule("statfs", map[string]any{"from_type": proc, "type": nfs})
		if answer := typeOf("/proc/self"); answer != both(nfs) {
			trial.Errorf("by type: %q", answer)
		}
		if answer := typeOf("/"); answer != root {
			trial.Errorf("of another type: %q instead of %q", answer, root)
		}
	})
}

func TestCallsOfOtherArchitecturesPass(t *testing.T) {
	other := filepath.Join(programs, "i386")
	if done := newTrial(t, "ptrace").plain(other, "/nowhere"); !done {
		t.Skip("this kernel does not run programs of i386")
	}
	each(t, func(trial *trial) {
		trial.succeed(other, filepath.Join(trial.from, "file"))
	})
}

// TestSharedMemoryLeavesNoMappings: a child of vfork(2) gets its page in its parent's memory.
func TestSharedMemoryLeavesNoMappings(t *testing.T) {
	eachKind(t, "spawn", func(trial *trial, program string) {
		trial.needsExecution()
		trial.install(filepath.Join(programs, "calls-static"))
		trial.succeed(program, filepath.Join(trial.from, "program"))
	})
}

func TestStatistics(t *testing.T) {
	each(t, func(trial *trial) {
		const times = 7
		trial.statistics = filepath.Join(trial.directory, "statistics.json")
		trial.succeed(program("cat-often", strconv.Itoa(times), filepath.Join(trial.from, "file"))...)
		trial.eventually("the tracer has ended", func() bool { return trial.counted() != nil })
		counted := trial.counted()
		if counted.Stops["openat"] < times || counted.Matched[0] != times || counted.Tracees.Peak < 1 || counted.Failures != 0 {
			trial.Errorf("%+v", counted)
		}
	})
}
