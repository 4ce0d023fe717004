// The CNI plugin: pods on a bridge, or with addresses alone, which are kept on disk. Where pods share one network it is,
// under other names, also what stands between containerd and its programs.
package main

import (
	"os"
	"path/filepath"

	"kins/engine/internal/cni"
	"kins/engine/internal/sharedpods"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "loopback":
		cni.Loopback()
	case sharedpods.ShimName, sharedpods.RuncName:
		os.Exit(sharedpods.Main(name))
	default:
		cni.Main()
	}
}
