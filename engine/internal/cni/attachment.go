package cni

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// attachment is one link of one pod: what ADD makes, and what addresses and the links on the node are named for.
type attachment types.GCAttachment

const (
	hostPrefix = "kins"
	podPrefix  = "kpod"
	// linkNameLength is the kernel's limit, IFNAMSIZ without the closing zero.
	linkNameLength = 15
)

func attachmentOf(arguments *skel.CmdArgs) attachment {
	return attachment{ContainerID: arguments.ContainerID, IfName: arguments.IfName}
}

func (a attachment) String() string {
	return a.IfName + " of " + a.ContainerID
}

// hostLink is the name of the end that stays on the node. It follows from the attachment alone, so that DEL finds the
// link without any record of it.
func (a attachment) hostLink() string { return a.linkName(hostPrefix) }

// podLink is the name that the pod's end has on the node, before it is in the pod.
func (a attachment) podLink() string { return a.linkName(podPrefix) }

func (a attachment) linkName(prefix string) string {
	// 44 bits: with 250 pods a collision has a chance of one in 10^9, and fails the ADD.
	sum := sha256.Sum256([]byte(a.ContainerID + "\x00" + a.IfName))
	return prefix + hex.EncodeToString(sum[:])[:linkNameLength-len(prefix)]
}

// isHostLink tells our links on the node from others'.
func isHostLink(name string) bool {
	return len(name) == linkNameLength && strings.HasPrefix(name, hostPrefix)
}
