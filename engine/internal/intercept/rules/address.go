package rules

import (
	"encoding/binary"
	"net/netip"
)

// NoRule is the number of no rule.
const NoRule = -1

// loopback is what a program means by localhost.
const loopback = IPv4(127<<24 | 1)

// IPv4 is an address as a number. The zero one is the wildcard address.
type IPv4 uint32

// Addresses is what the rules say about addresses: ranges that lead to others, and the one that a program has of its own.
//
// A program with an address of its own lives among others that have theirs, in one network. What it would share with
// them, the wildcard address and loopback, is its own address for it.
type Addresses struct {
	ranges []addressRange
	own    ownAddress
	source ownAddress
}

type addressRange struct {
	index          int
	from, to, mask IPv4
}

type ownAddress struct {
	index   int
	address IPv4 // zero: none
}

// add takes a rule if it is one about addresses. Of several addresses of one's own the first one counts.
func (addresses *Addresses) add(index int, rule Rule) {
	switch {
	case rule.Address != nil:
		mask := ^IPv4(0) << (32 - rule.Address.From.Bits())
		addresses.ranges = append(addresses.ranges, addressRange{
			index, number(rule.Address.From.Addr()), number(rule.Address.To.Addr()), mask,
		})
	case rule.Own != nil && addresses.own.address == 0:
		addresses.own = ownAddress{index, number(rule.Own.Address)}
	case rule.Source != nil && addresses.source.address == 0:
		addresses.source = ownAddress{index, number(rule.Source.Address)}
	}
}

func number(address netip.Addr) IPv4 {
	octets := address.As4()
	return IPv4(binary.BigEndian.Uint32(octets[:]))
}

// Any says whether there is a rule about addresses.
func (addresses *Addresses) Any() bool {
	return len(addresses.ranges) > 0 || addresses.own.address != 0 || addresses.source.address != 0
}

// Bound gives the address to bind to instead of this one, and the rule that says so.
//
// A wildcard address without a port stays: the kernel then chooses a port that nobody has, and a socket that is bound to
// loopback could not reach what lies outside.
func (addresses *Addresses) Bound(address IPv4, port uint16) (IPv4, int) {
	if address == 0 && port == 0 {
		return address, NoRule
	}
	return addresses.Reached(address)
}

// Reached gives the address that is meant by this one, and the rule that says so.
func (addresses *Addresses) Reached(address IPv4) (IPv4, int) {
	if (address == 0 || address == loopback) && addresses.own.address != 0 {
		return addresses.own.address, addresses.own.index
	}
	for index := range addresses.ranges {
		if one := &addresses.ranges[index]; address&one.mask == one.from {
			return one.to | address&^one.mask, one.index
		}
	}
	return address, NoRule
}

// Source gives the address that a connection to this (real) one must come from: without it all of loopback is reached from
// 127.0.0.1, by which nobody would be known or answered. False where that does not matter.
func (addresses *Addresses) Source(reached IPv4) (IPv4, bool) {
	source := addresses.own.address
	if source == 0 {
		source = addresses.source.address
	}
	return source, source != 0 && source != reached
}

// Told gives the address that a program is told instead of a real one.
func (addresses *Addresses) Told(address IPv4) (IPv4, int) {
	for index := range addresses.ranges {
		if one := &addresses.ranges[index]; address&one.mask == one.to {
			return one.from | address&^one.mask, one.index
		}
	}
	return address, NoRule
}

// ToldPeer is Told for the other end. Whoever has the program's own address has come by localhost, nearly always, and is
// trusted for that by some.
func (addresses *Addresses) ToldPeer(address IPv4) (IPv4, int) {
	if address != 0 && address == addresses.own.address {
		return loopback, addresses.own.index
	}
	return addresses.Told(address)
}

// Lead is Reached for an address as others have it.
func (addresses *Addresses) Lead(address netip.Addr) netip.Addr {
	reached, _ := addresses.Reached(number(address))
	return reached.netip()
}

// SourceOf is Source for a real address as others have it.
func (addresses *Addresses) SourceOf(reached netip.Addr) (netip.Addr, bool) {
	source, needed := addresses.Source(number(reached))
	return source.netip(), needed
}

func (address IPv4) netip() netip.Addr {
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], uint32(address))
	return netip.AddrFrom4(octets)
}
