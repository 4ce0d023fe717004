// Package intercept is the program kins-intercept: it runs a command and answers some of the system calls of all
// processes of its tree in another way than the kernel would, by rules. What to intercept, and why, is decided elsewhere
// (src/kins/intercept); the packages below hold one concern each.
package intercept

import (
	"fmt"
	"os"

	"kins/engine/internal/intercept/process"
)

// Main runs the process that the arguments ask for and returns its exit status.
func Main() int {
	arguments := os.Args[1:]
	if len(arguments) > 2 {
		switch arguments[0] {
		case process.TracerArgument:
			return process.Tracer(arguments[1:])
		case process.StubArgument:
			return process.Stub(arguments[1:])
		}
	}
	if len(arguments) == 1 {
		switch arguments[0] {
		case process.ProbeArgument:
			return process.Probe()
		case process.AnswerArgument:
			return process.Answer()
		}
	}
	options, err := process.ParseOptions(arguments)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kins-intercept: %v\n%s\n", err, process.Usage)
		return process.StatusUsage
	}
	return process.Front(options)
}
