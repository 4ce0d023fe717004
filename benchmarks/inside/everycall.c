/* A tracer that stops at the entry and the exit of every system call: everycall COMMAND...

   What interception costs without a filter, as the simplest tracers do it: PTRACE_SYSCALL for all, a look at the
   registers at each stop, and at the path of those calls that have one. It changes nothing. */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void look_at_path(pid_t process, unsigned long long address) {
	char path[256];
	struct iovec here = {path, sizeof path}, there = {(void *)address, sizeof path};
	process_vm_readv(process, &here, 1, &there, 1, 0);
}

static void look_at_call(pid_t process) {
	struct user_regs_struct registers;
	if (ptrace(PTRACE_GETREGS, process, 0, &registers) != 0)
		return;
	switch (registers.orig_rax) {
	case SYS_openat:
	case SYS_newfstatat:
		look_at_path(process, registers.rsi);
		break;
	case SYS_open:
	case SYS_stat:
	case SYS_statfs:
		look_at_path(process, registers.rdi);
		break;
	}
}

/* The signal to pass on at a stop; 0 at stops that are the tracer's own. */
static int handle_stop(pid_t process, int status) {
	int number = WSTOPSIG(status);
	if (number == (SIGTRAP | 0x80)) {
		look_at_call(process);
		return 0;
	}
	/* A new process or thread begins with a stop of its own. */
	return number == SIGTRAP || number == SIGSTOP ? 0 : number;
}

static int trace(pid_t command) {
	int status, result = 1;
	pid_t process;
	while ((process = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (process > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_SYSCALL, process, 0, handle_stop(process, status));
		else if (process == command)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return result;
}

int main(int count, char **arguments) {
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		       PTRACE_O_EXITKILL;
	int status;
	pid_t command;
	if (count < 2)
		return 2;
	if ((command = fork()) == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(arguments[1], arguments + 1);
		perror(arguments[1]);
		_exit(127);
	}
	if (waitpid(command, &status, 0) != command || ptrace(PTRACE_SETOPTIONS, command, 0, options) != 0) {
		perror("everycall");
		kill(command, SIGKILL);
		return 1;
	}
	ptrace(PTRACE_SYSCALL, command, 0, 0);
	return trace(command);
}
