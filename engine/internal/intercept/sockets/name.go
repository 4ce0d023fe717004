//go:build linux && amd64

// Package sockets reads and changes socket addresses as they lie in memory: struct sockaddr_in (ip(7)) and sockaddr_in6
// (ipv6(7)). It knows no rule and touches no process.
package sockets

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/rules"
)

const (
	// Size is that of the larger structure.
	Size = unix.SizeofSockaddrInet6

	portOffset = 2
	fourOffset = 4
	sixOffset  = 8
	lastOffset = sixOffset + 12
	// shortest is what the kernel asks for: IPv4 with its padding, IPv6 without its scope.
	shortestFour = unix.SizeofSockaddrInet4
	shortestSix  = 24
)

// Name is a socket's address.
type Name struct {
	buffer [Size]byte
	length int
}

// Buffer is where to write an address of this length; what is beyond Size has no meaning here.
func (name *Name) Buffer(length int) []byte {
	name.length = min(length, Size)
	return name.buffer[:name.length]
}

// Bytes is the address.
func (name *Name) Bytes() []byte {
	return name.buffer[:name.length]
}

func (name *Name) family() int {
	family := binary.NativeEndian.Uint16(name.buffer[:])
	switch {
	case family == unix.AF_INET && name.length >= shortestFour, family == unix.AF_INET6 && name.length >= shortestSix:
		return int(family)
	}
	return unix.AF_UNSPEC
}

// IPv4 is the address of IPv4 that it holds, also inside one of IPv6, and where that lies in the bytes.
func (name *Name) IPv4() (address rules.IPv4, offset int, is bool) {
	switch name.family() {
	case unix.AF_INET:
		offset = fourOffset
	case unix.AF_INET6:
		if !name.six().Is4In6() {
			return 0, 0, false
		}
		offset = lastOffset
	default:
		return 0, 0, false
	}
	return rules.IPv4(binary.BigEndian.Uint32(name.buffer[offset:])), offset, true
}

// Meant is IPv4 for what a program asks for: `::` and `::1` are the wildcard address and localhost as well.
func (name *Name) Meant() (rules.IPv4, bool) {
	if name.family() == unix.AF_INET6 {
		switch six := name.six(); {
		case six.IsUnspecified():
			return 0, true
		case six.IsLoopback():
			return 127<<24 | 1, true
		}
	}
	address, _, is := name.IPv4()
	return address, is
}

func (name *Name) six() netip.Addr {
	return netip.AddrFrom16([16]byte(name.buffer[sixOffset : sixOffset+16]))
}

// IsOnlySix says whether it is an address that no IPv4 one stands in.
func (name *Name) IsOnlySix() bool {
	return name.family() == unix.AF_INET6 && !name.six().Is4In6()
}

// Port is the port.
func (name *Name) Port() uint16 {
	return binary.BigEndian.Uint16(name.buffer[portOffset:])
}

// SetPort changes the port.
func (name *Name) SetPort(port uint16) {
	binary.BigEndian.PutUint16(name.buffer[portOffset:], port)
}

// SetIPv4 changes the address and leaves the family.
func (name *Name) SetIPv4(address rules.IPv4) {
	if name.family() == unix.AF_INET {
		binary.BigEndian.PutUint32(name.buffer[fourOffset:], uint32(address))
		return
	}
	clear(name.buffer[sixOffset:lastOffset])
	name.buffer[lastOffset-2], name.buffer[lastOffset-1] = 0xff, 0xff
	binary.BigEndian.PutUint32(name.buffer[lastOffset:], uint32(address))
}

// SetLoopbackSix makes it `::1` with a port that the kernel chooses.
func (name *Name) SetLoopbackSix() {
	clear(name.buffer[sixOffset : sixOffset+16])
	name.buffer[sixOffset+15] = 1
	name.SetPort(0)
}
