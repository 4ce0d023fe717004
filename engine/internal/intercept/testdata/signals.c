/* A signal arrives while the program waits in a redirected call (the open of a fifo that has no writer yet); its handler
 * makes redirected calls too. With `restart` the call must go on, with `interrupt` it must fail with EINTR. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *file;
static volatile int handled, handled_wrong;

static void handle(int number) {
    char buffer[16] = {0};
    int descriptor = open(file, O_RDONLY);
    if (descriptor < 0 || read(descriptor, buffer, sizeof buffer - 1) != 11 || memcmp(buffer, "redirected\n", 11) != 0)
        handled_wrong++;
    close(descriptor);
    handled += number == SIGALRM;
}

int main(int count, char **arguments) {
    const char *fifo = arguments[2];
    int restarts = strcmp(arguments[1], "restart") == 0;
    file = arguments[3];
    struct sigaction action = {.sa_handler = handle, .sa_flags = restarts ? SA_RESTART : 0};
    sigaction(SIGALRM, &action, NULL);
    pid_t child = 0;
    if (restarts) {
        child = fork();
        if (child == 0) {
            usleep(400000);
            int descriptor = open(fifo, O_WRONLY);
            _exit(descriptor < 0 || write(descriptor, "late", 4) != 4);
        }
    }
    struct itimerval timer = {.it_value = {.tv_usec = 50000}, .it_interval = {.tv_usec = 50000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    int descriptor = open(fifo, O_RDONLY);
    int number = errno;
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    if (handled == 0 || handled_wrong != 0)
        return printf("handled %d times, %d of them wrong\n", handled, handled_wrong), 1;
    if (!restarts)
        return descriptor == -1 && number == EINTR ? 0 : (printf("open: %d, errno %d\n", descriptor, number), 1);
    char buffer[16] = {0};
    int status;
    if (descriptor < 0 || read(descriptor, buffer, sizeof buffer - 1) != 4 || strcmp(buffer, "late") != 0)
        return printf("open: %d, errno %d, read %s\n", descriptor, number, buffer), 1;
    waitpid(child, &status, 0);
    return count != 4 || status != 0;
}
