//go:build linux && amd64

package intercept_test

import (
	"path/filepath"
	"testing"
)

func TestExecFromAThreadThatIsNotTheFirst(t *testing.T) {
	each(t, func(trial *trial) {
		trial.needsExecution()
		trial.install(filepath.Join(programs, "calls-static"))
		name := filepath.Join(trial.from, "program")
		// What it becomes makes all calls, so the thread's new number is known.
		trial.succeed(program("exec-in-thread", filepath.Join(trial.from, "file"), name, trial.from)...)
	})
}

func TestStormOfSignals(t *testing.T) {
	each(t, func(trial *trial) {
		trial.expect("1200 0\n", program("storm", filepath.Join(trial.from, "file"))...)
	})
}

func TestThreadsThatEndAtAnyTime(t *testing.T) {
	each(t, func(trial *trial) {
		for range 10 {
			if done := trial.run(program("exit-at-once", filepath.Join(trial.from, "file"))...); done.status.ExitStatus() != 7 {
				trial.Fatalf("wait status %#x\n%s", done.status, done.stderr)
			}
		}
	})
}

func TestManyChildrenAtOnce(t *testing.T) {
	each(t, func(trial *trial) {
		trial.expect("0\n", program("parallel-exec", filepath.Join(trial.from, "file"))...)
	})
}

func TestCallInterruptedByASignal(t *testing.T) {
	for _, mode := range []string{"interrupt", "restart"} {
		t.Run(mode, func(t *testing.T) {
			eachKind(t, "signals", func(trial *trial, program string) {
				if trial.backend == "notify" {
					trial.Skip("signals wait for the supervisor: what it has begun must not be begun again")
				}
				if !trial.plain(program, mode, filepath.Join(trial.to, "fifo"), filepath.Join(trial.to, "file")) {
					trial.Skip("this kernel itself does not restart the call (gVisor's open of a fifo)")
				}
				trial.succeed(program, mode, filepath.Join(trial.from, "fifo"), filepath.Join(trial.from, "file"))
			})
		})
	}
}

// TestATracerInside: a second tracer is refused by the kernel, and that is all.
func TestATracerInside(t *testing.T) {
	each(t, func(trial *trial) {
		if trial.backend != "ptrace" {
			trial.Skip("only one backend is a tracer")
		}
		trial.succeed(program("trace-me")...)
	})
}
