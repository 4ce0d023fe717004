// Command kins-egress leads connections of pods to the outside of the sandbox.
package main

import (
	"os"

	"kins/network/internal/egress"
)

func main() {
	os.Exit(egress.Main(os.Args[1:], os.Stderr))
}
