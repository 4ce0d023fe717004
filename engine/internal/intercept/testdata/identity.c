/* Gives files to other owners, takes on other ids and mounts with them, where there is one id only: by the library's
 * functions and as bare instructions, in the first thread and in another one. The directory FILES has a file; mounts are
 * made at an empty one in it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"

enum { OTHER = 101 };

/* fsconfig(2), which musl's headers do not know: its number, and its commands. */
enum { SYS_of_fsconfig = 431, SET_FLAG = 0, SET_STRING = 1 };

static void expect_owner(const char *name, const char *path) {
    struct stat status;
    expect(name, lstat(path, &status), 0);
    expect(name, status.st_uid, 0);
    expect(name, status.st_gid, 0);
}

static void give_away(void) {
    int file = open("file", O_RDONLY);
    expect("chown", CALL(chown, (long)"file", OTHER, OTHER, 0, 0), 0);
    expect("lchown", CALL(lchown, (long)"link", OTHER, -1, 0, 0), 0);
    expect("fchown", CALL(fchown, file, -1, OTHER, 0, 0), 0);
    expect("fchownat", CALL(fchownat, AT_FDCWD, (long)"file", OTHER, OTHER, 0), 0);
    expect("fchownat of a descriptor", CALL(fchownat, file, (long)"", OTHER, OTHER, AT_EMPTY_PATH), 0);
    expect("chown of a missing file", CALL(chown, (long)"missing", OTHER, OTHER, 0, 0), -ENOENT);
    expect("lchown through a file", CALL(lchown, (long)"file/inner", OTHER, OTHER, 0, 0), -ENOTDIR);
    expect("fchown of no descriptor", CALL(fchown, -1, OTHER, OTHER, 0, 0), -EBADF);
    expect("fchownat with another flag", CALL(fchownat, AT_FDCWD, (long)"file", OTHER, OTHER, 1), -EINVAL);
    expect("chown of no path", CALL(chown, 0, OTHER, OTHER, 0, 0), -EFAULT);
    expect_owner("file", "file");
    expect_owner("link", "link");
    close(file);
}

static void take_on(void) {
    gid_t groups[] = {OTHER, OTHER + 1};
    expect("setgroups", CALL(setgroups, 2, (long)groups, 0, 0, 0), 0);
    expect("setgid", CALL(setgid, OTHER, 0, 0, 0, 0), 0);
    expect("setregid", CALL(setregid, OTHER, OTHER, 0, 0, 0), 0);
    expect("setresgid", CALL(setresgid, OTHER, OTHER, OTHER, 0, 0), 0);
    expect("setfsgid", CALL(setfsgid, OTHER, 0, 0, 0, 0), 0);
    expect("setuid", CALL(setuid, OTHER, 0, 0, 0, 0), 0);
    expect("setreuid", CALL(setreuid, OTHER, OTHER, 0, 0, 0), 0);
    expect("setresuid", CALL(setresuid, OTHER, OTHER, OTHER, 0, 0), 0);
    expect("setfsuid", CALL(setfsuid, OTHER, 0, 0, 0, 0), 0);
    /* The library makes these calls in every thread, by a signal. */
    expect("setgroups of the library", setgroups(1, groups), 0);
    expect("setresgid of the library", setresgid(OTHER, OTHER, OTHER), 0);
    expect("setresuid of the library", setresuid(OTHER, OTHER, OTHER), 0);
    expect("geteuid", geteuid(), 0);
    expect("getegid", getegid(), 0);
}

static void expect_mount(const char *system, const char *options, const char *place, long mode) {
    struct stat status;
    expect(options, CALL(mount, (long)system, (long)"mounted", (long)system, 0, (long)options), 0);
    expect_owner(options, place);
    expect(options, stat(place, &status), 0);
    expect(options, status.st_mode & 0777, mode);
    expect(options, umount("mounted"), 0);
}

static void mount_systems(void) {
    expect_mount("tmpfs", "uid=7,mode=0750,gid=8", "mounted", 0750);
    expect_mount("tmpfs", "gid=5", "mounted", 0777);
    expect_mount("tmpfs", "mode=0711,uid=0,gid=0", "mounted", 0711);
    expect_mount("devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", "mounted/ptmx", 0666);
    expect("mount of nothing known", CALL(mount, (long)"a", (long)"mounted", (long)"nosuch", 0, (long)"gid=5"), -ENODEV);
    expect("mount without options", CALL(mount, (long)"a", (long)"mounted", (long)"tmpfs", 0, 0), 0);
    expect("umount", umount("mounted"), 0);
    long other = call("fsconfig", SYS_of_fsconfig, -1, SET_STRING, (long)"gid", (long)"5", 0);
    expect("fsconfig of another id", other, 0);
    long same = call("fsconfig", SYS_of_fsconfig, -1, SET_STRING, (long)"gid", (long)"0", 0);
    expect("fsconfig of the one id", same == -EINVAL || same == -EBADF || same == -ENOSYS, 1);
}

static void *in_a_thread(void *nothing) {
    give_away();
    take_on();
    return nothing;
}

int main(int count, char **arguments) {
    pthread_t thread;
    if (count != 2 || chdir(arguments[1]) != 0)
        return 2;
    give_away();
    take_on();
    mount_systems();
    pthread_create(&thread, NULL, in_a_thread, NULL);
    pthread_join(thread, NULL);
    return failures != 0;
}
