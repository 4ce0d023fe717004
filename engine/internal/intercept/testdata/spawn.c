/* Starts a redirected program many times by posix_spawn, vfork and a clone that shares memory, and checks that this
 * leaves no mapping behind. */
#define _GNU_SOURCE
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES = 50, STACK = 65536 };

static char **arguments_of_child, *no_environment[] = {NULL};

static int mappings(void) {
    int lines = 0, character;
    FILE *maps = fopen("/proc/self/maps", "r");
    while ((character = fgetc(maps)) != EOF)
        lines += character == '\n';
    fclose(maps);
    return lines;
}

static int await(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, __WALL) != child)
        return 1;
    return !WIFEXITED(status) || WEXITSTATUS(status) != 42;
}

static int execute(void *program) {
    execve(program, arguments_of_child, no_environment);
    _exit(99);
}

static int start_all(char *program, char *stack) {
    pid_t child = -1;
    int wrong = posix_spawn(&child, program, NULL, NULL, arguments_of_child, no_environment) != 0;
    wrong += await(child);
    if ((child = vfork()) == 0)
        execute(program);
    wrong += await(child);
    wrong += await(clone(execute, stack + STACK, CLONE_VM, program));
    return wrong;
}

int main(int count, char **arguments) {
    char *program = arguments[1], *list[] = {program, "more", "arguments", NULL}, *stack = malloc(STACK);
    int wrong = 0;
    arguments_of_child = list;
    wrong += start_all(program, stack);
    int before = mappings();
    for (int index = 0; index < TIMES; index++)
        wrong += start_all(program, stack);
    int after = mappings();
    if (wrong != 0 || after > before + 2)
        printf("%d wrong, mappings %d, then %d\n", wrong, before, after);
    return count != 2 || wrong != 0 || after > before + 2;
}
