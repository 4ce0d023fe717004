// The CNI plugin: pods on a bridge, their addresses kept on disk.
package main

import "kins/engine/internal/cni"

func main() {
	cni.Main()
}
