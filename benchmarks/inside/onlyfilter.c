/* Runs a command under a seccomp filter that allows every call: onlyfilter COMMAND...

   The price that the kernel has for any filter at all, below which no interception by seccomp can come. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **arguments) {
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};
	if (count < 2)
		return 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
		perror("onlyfilter");
		return 1;
	}
	execvp(arguments[1], arguments + 1);
	perror(arguments[1]);
	return 127;
}
