/* Times single system calls: calls DIRECTORY BATCHES MILLISECONDS

   In DIRECTORY are the files `plain` and `redirected`. Prints one JSON object: nanoseconds per call of each batch, and
   what two calls answered, by which one sees whether rules were in force. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static char plain[4096], redirected[4096];
static int zero;

static void fail(const char *what) {
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* glibc's own functions may answer from memory or take another call: these are the calls themselves. */
static void call_getppid(void) {
	syscall(SYS_getppid);
}

static void call_read(void) {
	char byte;
	if (syscall(SYS_read, zero, &byte, 1) != 1)
		fail("read");
}

static void open_and_close(const char *path) {
	long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		fail(path);
	syscall(SYS_close, file);
}

static void call_open_plain(void) {
	open_and_close(plain);
}

static void call_open_redirected(void) {
	open_and_close(redirected);
}

static void call_stat(void) {
	struct stat found;
	if (syscall(SYS_newfstatat, AT_FDCWD, plain, &found, 0) != 0)
		fail("newfstatat");
}

static void call_statfs(void) {
	struct statfs found;
	if (syscall(SYS_statfs, plain, &found) != 0)
		fail("statfs");
}

static void call_chown(void) {
	if (syscall(SYS_fchownat, AT_FDCWD, plain, getuid(), getgid(), 0) != 0)
		fail("fchownat");
}

static const struct {
	const char *name;
	void (*call)(void);
} cases[] = {
	{"getppid", call_getppid},
	{"read", call_read},
	{"stat", call_stat},
	{"open", call_open_plain},
	{"open-redirected", call_open_redirected},
	{"statfs", call_statfs},
	{"chown", call_chown},
};

static double nanoseconds(void (*call)(void), long count) {
	struct timespec begin, end;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (long done = 0; done < count; done++)
		call();
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
}

/* How many calls make a batch of about that length; the way there warms up whatever is cold. */
static long batch_size(void (*call)(void), double length) {
	long count = 1;
	double taken;
	while ((taken = nanoseconds(call, count)) < length / 4)
		count *= 2;
	return count * length / taken + 1;
}

static void print_batches(int batches, double length) {
	printf("{\"nanoseconds\": {");
	for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
		long count = batch_size(cases[at].call, length);
		printf("%s\"%s\": [", at ? ", " : "", cases[at].name);
		for (int batch = 0; batch < batches; batch++)
			printf("%s%.1f", batch ? ", " : "", nanoseconds(cases[at].call, count) / count);
		printf("]");
	}
	printf("}, ");
}

static void print_answers(void) {
	char content[64] = "";
	struct statfs found;
	int file = open(redirected, O_RDONLY);
	if (file < 0 || read(file, content, sizeof content - 1) < 0 || statfs(plain, &found) != 0)
		fail("the answers");
	content[strcspn(content, "\n")] = 0;
	printf("\"answers\": {\"redirected\": \"%s\", \"type\": %ld}}\n", content, (long)found.f_type);
}

int main(int count, char **arguments) {
	if (count != 4)
		return 2;
	snprintf(plain, sizeof plain, "%s/plain", arguments[1]);
	snprintf(redirected, sizeof redirected, "%s/redirected", arguments[1]);
	if ((zero = open("/dev/zero", O_RDONLY)) < 0)
		fail("/dev/zero");
	print_batches(atoi(arguments[2]), atof(arguments[3]) * 1e6);
	print_answers();
	return 0;
}
