/* Makes every call that a redirect rule concerns below the directory that is given, as bare instructions, and checks its
 * result and that the kernel has given back all registers of its arguments. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"

/* openat2(2), which musl's headers do not know. */
struct open_how {
    unsigned long long flags, mode, resolve;
};
enum { RESOLVE_NO_XDEV = 1, RESOLVE_BENEATH = 8, RESOLVE_IN_ROOT = 16 };

#undef STATX_SIZE
enum { STATX_SIZE = 0x200 };

static void expect_content(const char *name, long descriptor) {
    char buffer[64] = {0};
    if (descriptor < 0 || read(descriptor, buffer, sizeof buffer - 1) < 0 || strcmp(buffer, "redirected\n") != 0) {
        printf("%s: %ld, content %s\n", name, descriptor, buffer);
        failures++;
    }
    if (descriptor >= 0)
        close(descriptor);
}

/* The program says this when it is executed with one argument more. */
static void expect_execution(const char *name, long number, long a, long b, long c, long d, long e) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        call(name, number, a, b, c, d, e);
        _exit(99);
    }
    waitpid(child, &status, 0);
    expect(name, WIFEXITED(status) ? WEXITSTATUS(status) : -1, 42);
}

int main(int count, char **arguments) {
    if (count > 2)
        return 42;
    char file[PATH_MAX], link[PATH_MAX], program[PATH_MAX], missing[PATH_MAX], created[PATH_MAX], buffer[PATH_MAX];
    snprintf(file, sizeof file, "%s/file", arguments[1]);
    snprintf(link, sizeof link, "%s/link", arguments[1]);
    snprintf(program, sizeof program, "%s/program", arguments[1]);
    snprintf(missing, sizeof missing, "%s/missing", arguments[1]);
    snprintf(created, sizeof created, "%s/created-%d", arguments[1], getpid());
    struct stat status;
    /* struct statx of statx(2), which musl's headers do not know either: stx_size is the sixth word. */
    unsigned long long extended[32];
    struct statfs system;
    struct open_how how = {.flags = O_RDONLY};
    char *argv[] = {program, "more", "arguments", NULL}, *environment[] = {NULL};

    expect_content("open", CALL(open, (long)file, O_RDONLY, 0, 0, 0));
    expect_content("openat", CALL(openat, AT_FDCWD, (long)file, O_RDONLY, 0, 0));
    expect_content("openat with a descriptor that does not matter", CALL(openat, -7, (long)file, O_RDONLY, 0, 0));
    expect_content("openat2", CALL(openat2, AT_FDCWD, (long)file, (long)&how, sizeof how, 0));
    how.resolve = RESOLVE_NO_XDEV;
    expect_content("openat2 on one mount", CALL(openat2, AT_FDCWD, (long)file, (long)&how, sizeof how, 0));
    long root = open("/", O_PATH);
    how.resolve = RESOLVE_IN_ROOT;
    expect_content("openat2 in a root", CALL(openat2, root, (long)file, (long)&how, sizeof how, 0));
    how.resolve = RESOLVE_BENEATH;
    expect_content("openat2 beneath", CALL(openat2, root, (long)(file + 1), (long)&how, sizeof how, 0));
    expect_content("openat of a relative path", CALL(openat, root, (long)(file + 1), O_RDONLY, 0, 0));
    expect("open of a missing file", CALL(open, (long)missing, O_RDONLY, 0, 0, 0), -ENOENT);

    long made = CALL(creat, (long)created, 0640, 0, 0, 0);
    expect("creat", made >= 0, 1);
    expect("write", write(made, "12345", 5), 5);
    close(made);
    expect("truncate", CALL(truncate, (long)created, 3, 0, 0, 0), 0);
    expect("stat", CALL(stat, (long)created, (long)&status, 0, 0, 0), 0);
    expect("size", status.st_size, 3);
    expect("lstat", CALL(lstat, (long)link, (long)&status, 0, 0, 0), 0);
    expect("a link", S_ISLNK(status.st_mode), 1);
    expect("newfstatat", CALL(newfstatat, AT_FDCWD, (long)file, (long)&status, 0, 0), 0);
    expect("size", status.st_size, 11);
    expect("statx", CALL(statx, AT_FDCWD, (long)file, 0, STATX_SIZE, (long)extended), 0);
    expect("size", extended[5], 11);
    expect("access", CALL(access, (long)file, R_OK, 0, 0, 0), 0);
    expect("faccessat", CALL(faccessat, AT_FDCWD, (long)file, R_OK, 0, 0), 0);
    expect("faccessat2", CALL(faccessat2, AT_FDCWD, (long)file, R_OK, AT_EACCESS, 0), 0);
    expect("access to a missing file", CALL(access, (long)missing, R_OK, 0, 0, 0), -ENOENT);
    expect("readlink", CALL(readlink, (long)link, (long)buffer, sizeof buffer, 0, 0), 4);
    expect("readlinkat", CALL(readlinkat, AT_FDCWD, (long)link, (long)buffer, sizeof buffer, 0), 4);
    expect("target", memcmp(buffer, "file", 4), 0);
    expect("statfs", CALL(statfs, (long)file, (long)&system, 0, 0, 0), 0);
    long attribute = CALL(getxattr, (long)missing, (long)"user.none", (long)buffer, sizeof buffer, 0);
    expect("getxattr", attribute, -ENOENT);
    expect("lgetxattr", CALL(lgetxattr, (long)missing, (long)"user.none", (long)buffer, sizeof buffer, 0), -ENOENT);
    if (getenv("WITHOUT_EXECUTION") == NULL) {
        expect_execution("execve", SYS_execve, (long)program, (long)argv, (long)environment, 0, 0);
        expect_execution("execveat", SYS_execveat, AT_FDCWD, (long)program, (long)argv, (long)environment, 0);
        expect("execve of a missing file", CALL(execve, (long)missing, (long)argv, (long)environment, 0, 0), -ENOENT);
        expect("execve of a text", CALL(execve, (long)file, (long)argv, (long)environment, 0, 0), -EACCES);
        expect("chdir", CALL(chdir, (long)arguments[1], 0, 0, 0, 0), 0);
        expect_content("open in the working directory", CALL(open, (long)"file", O_RDONLY, 0, 0, 0));
    }

    expect("no path", CALL(open, 0, O_RDONLY, 0, 0, 0), -EFAULT);
    expect("an empty path", CALL(open, (long)"", O_RDONLY, 0, 0, 0), -ENOENT);
    char *endless = memset(malloc(2 * PATH_MAX), 'x', 2 * PATH_MAX);
    endless[2 * PATH_MAX - 1] = 0;
    expect("an endless path", CALL(open, (long)endless, O_RDONLY, 0, 0, 0), -ENAMETOOLONG);
    return failures != 0;
}
