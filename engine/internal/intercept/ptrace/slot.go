//go:build linux && amd64

package ptrace

import (
	"golang.org/x/sys/unix"

	"kins/engine/internal/intercept/memory"
)

const pageSize = 4096

// takeSlot gives the thread a slot for its call. False where it runs on to an mmap instead, after which its call comes here
// again.
func (tracer *Tracer) takeSlot(stopped *thread) bool {
	slot, ok := stopped.process.space.Take(stopped.id)
	if !ok {
		tracer.beginMapping(stopped)
		return false
	}
	stopped.slot = slot
	return true
}

// giveUp lets the thread make its call as it is.
func (tracer *Tracer) giveUp(stopped *thread) {
	tracer.counters.Failure()
	stopped.finish()
	tracer.proceed(stopped)
}

// beginMapping puts an mmap in the place of the thread's call.
func (tracer *Tracer) beginMapping(stopped *thread) {
	changed := stopped.registers
	changed.Orig_rax, changed.Rax = unix.SYS_MMAP, unix.SYS_MMAP
	changed.Rdi, changed.Rsi, changed.Rdx = 0, memory.AreaSize, unix.PROT_READ
	changed.R10, changed.R8, changed.R9 = unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, ^uint64(0), 0
	if err := setRegisters(stopped.id, &changed); err != nil {
		return
	}
	tracer.proceedTo(stopped, mapping)
}

// endMapping takes the result of the mmap and lets the thread make its own call again; ENOMEM for it where the mmap
// failed.
func (tracer *Tracer) endMapping(stopped *thread) {
	stopped.finish()
	var now unix.PtraceRegs
	if err := getRegisters(stopped.id, &now); err != nil {
		return
	}
	isMapped := int64(now.Rax) > 0 || int64(now.Rax) < -pageSize
	if isMapped && stopped.process.space.Add(stopped.id, uintptr(now.Rax)) == nil {
		tracer.repeat(stopped)
		return
	}
	tracer.counters.Failure()
	failed := stopped.registers
	failed.Rax = errorResult(unix.ENOMEM)
	tracer.resume(stopped, &failed)
}

func errorResult(number unix.Errno) uint64 {
	return -uint64(number)
}
