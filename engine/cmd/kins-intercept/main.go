// The interception of system calls: kins-intercept --rules FILE -- COMMAND.
package main

import (
	"os"
	"runtime"

	"kins/engine/internal/intercept"
)

func init() {
	// main runs on the first thread, whose number is that of the process: the stub and the tracer need it.
	runtime.LockOSThread()
}

func main() {
	os.Exit(intercept.Main())
}
