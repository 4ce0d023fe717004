//go:build linux && amd64

package memory

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	slotSize = 2 * pageSize
	slots    = 64
	// AreaSize is how much address space a mapping of the tracer's takes; memory it takes only where it was written.
	AreaSize = slots * slotSize
	// The first slot holds the cookie.
	cookieSlot = 1
)

// area is a mapping of the tracer's own in the programs that it traces, cut into slots: one for each call under way.
// A forked process has a copy at the same address, one made with CLONE_VM shares it; both use the slots of one area.
type area struct {
	address uintptr
	cookie  uint64
	busy    uint64 // a bit for each slot
}

// known is an area that a process is said to have; it is asked by the cookie before the first use.
type known struct {
	*area
	verified bool
	mapped   bool // by this process itself
}

// Space is what the tracer has in one process's memory. The zero Space has nothing.
type Space struct {
	areas []known
}

// Slot is a place for one path and, on the page behind it, one structure.
type Slot struct {
	area  *area
	index int
}

var lastCookie = uint64(0x6b696e7300000000) // "kins", so that a core dump explains itself

// Inherit returns the space of a process that was just made by one with this space. Nothing is believed until the
// memory itself confirms it, so a wrong parent costs a mapping and harms nobody.
func (space *Space) Inherit() Space {
	inherited := Space{make([]known, len(space.areas))}
	for index := range space.areas {
		inherited.areas[index] = known{area: space.areas[index].area}
	}
	return inherited
}

// Add records that the process has just mapped an area at this address, and marks it with a cookie.
func (space *Space) Add(thread int, address uintptr) error {
	lastCookie++
	var cookie [wordSize]byte
	binary.LittleEndian.PutUint64(cookie[:], lastCookie)
	if err := Write(thread, address, cookie[:]); err != nil {
		return err
	}
	added := &area{address: address, cookie: lastCookie, busy: cookieSlot}
	space.areas = append(space.areas, known{area: added, verified: true, mapped: true})
	return nil
}

// Take returns a free slot; false where the process needs another area.
func (space *Space) Take(thread int) (Slot, bool) {
	for index := 0; index < len(space.areas); index++ {
		candidate := &space.areas[index]
		free := bits.TrailingZeros64(^candidate.busy)
		if free == slots {
			continue
		}
		if !candidate.verified && !candidate.isIn(thread) {
			space.areas = slices.Delete(space.areas, index, index+1)
			index--
			continue
		}
		candidate.verified = true
		candidate.busy |= 1 << free
		return Slot{candidate.area, free}, true
	}
	return Slot{}, false
}

// isIn says whether a thread's memory holds the area.
func (area *area) isIn(thread int) bool {
	var cookie [wordSize]byte
	err := Read(thread, area.address, cookie[:])
	return err == nil && binary.LittleEndian.Uint64(cookie[:]) == area.cookie
}

// HandOver is for the end of a process or of its memory: what it mapped while it shared its parent's memory (vfork)
// is still there and becomes the parent's, which would otherwise get one more mapping with every child.
func (space *Space) HandOver(parent *Space, thread int) {
	for _, candidate := range space.areas {
		if candidate.mapped && candidate.isIn(thread) {
			parent.areas = append(parent.areas, known{area: candidate.area, verified: true, mapped: true})
		}
	}
}

// HasMapped says whether the process itself has mapped an area.
func (space *Space) HasMapped() bool {
	for index := range space.areas {
		if space.areas[index].mapped {
			return true
		}
	}
	return false
}

// Taken says whether this is a slot that Take gave and Release has not taken back.
func (slot *Slot) Taken() bool {
	return slot.area != nil
}

// Release gives the slot back.
func (slot *Slot) Release() {
	if slot.area != nil {
		slot.area.busy &^= 1 << slot.index
		slot.area = nil
	}
}

// PutPath writes a path with its final NUL and returns its address in the thread.
func (slot *Slot) PutPath(thread int, terminated []byte) (uintptr, error) {
	address := slot.area.address + uintptr(slot.index)*slotSize
	return address, putTerminated(thread, address, terminated)
}

// putTerminated is Write for slots, where what follows in the last word does not matter.
func putTerminated(thread int, address uintptr, data []byte) error {
	for len(data) > 0 {
		var word [wordSize]byte
		length := copy(word[:], data)
		if err := poke(thread, address, word); err != nil {
			return err
		}
		data, address = data[length:], address+uintptr(length)
	}
	return nil
}

// PutStructure writes a structure and returns its address in the thread.
func (slot *Slot) PutStructure(thread int, structure []byte) (uintptr, error) {
	if len(structure) > pageSize {
		return 0, unix.E2BIG
	}
	address := slot.area.address + uintptr(slot.index)*slotSize + pageSize
	return address, putTerminated(thread, address, structure)
}
