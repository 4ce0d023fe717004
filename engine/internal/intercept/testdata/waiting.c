/* So many threads wait in redirected calls at once that one area of slots is not enough: each opens a fifo of its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 150 };

static const char *directory;
static int wrong;

static void name(char *buffer, size_t size, long number) {
    snprintf(buffer, size, "%s/fifo-%ld", directory, number);
}

static void *read_one(void *argument) {
    char path[4096];
    long number = (long)argument, answer = -1;
    name(path, sizeof path, number);
    int descriptor = open(path, O_RDONLY);
    if (descriptor < 0 || read(descriptor, &answer, sizeof answer) != sizeof answer || answer != number)
        __atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
    close(descriptor);
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    char path[4096];
    directory = arguments[1];
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 131072);
    for (long number = 0; number < THREADS; number++) {
        /* The fifo is made where it really lies: mkfifo is no call that is redirected. */
        snprintf(path, sizeof path, "%s/fifo-%ld", arguments[2], number);
        if (mkfifo(path, 0600) != 0 || pthread_create(&threads[number], &attributes, read_one, (void *)number) != 0)
            return perror(path), 1;
    }
    usleep(200000);
    for (long number = 0; number < THREADS; number++) {
        name(path, sizeof path, number);
        int descriptor = open(path, O_WRONLY);
        if (write(descriptor, &number, sizeof number) != sizeof number)
            wrong++;
        close(descriptor);
    }
    for (long number = 0; number < THREADS; number++)
        pthread_join(threads[number], NULL);
    if (wrong != 0)
        printf("%d wrong\n", wrong);
    return count != 3 || wrong != 0;
}
