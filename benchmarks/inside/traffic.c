/* Both ends of a TCP connection, to measure what is between them: `traffic serve PORT`, and
 * `traffic ask ROUNDS ADDRESS:PORT...`, which prints a JSON line for each address in each round. Static, so that it runs
 * in any container. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Each connection leaves a port behind for a minute: many more of them in all would find none. */
enum { CHUNK = 128 << 10, QUESTION = 100, QUESTIONS = 1000, CONNECTIONS = 1000 };
static const double STREAM_SECONDS = 2;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* A connection's first byte says what it is for: s takes all and answers the last byte, e echoes. */
static void *serve_one(void *argument) {
    int connection = (int)(long)argument, one = 1;
    static __thread char chunk[CHUNK];
    char kind = 0;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (read(connection, &kind, 1) == 1) {
        ssize_t count;
        while ((count = read(connection, chunk, sizeof chunk)) > 0)
            if (kind == 'e' && write(connection, chunk, count) != count)
                break;
        if (kind == 's' && write(connection, "x", 1) != 1)
            perror("write");
    }
    close(connection);
    return NULL;
}

static void serve(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 1024) != 0)
        fail("listen");
    for (;;) {
        pthread_t thread;
        int connection = accept(listener, NULL, NULL);
        if (connection < 0)
            continue;
        if (pthread_create(&thread, NULL, serve_one, (void *)(long)connection) != 0)
            fail("pthread_create");
        pthread_detach(thread);
    }
}

static int connected(const struct sockaddr_in *there, char kind) {
    int connection = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (connect(connection, (const struct sockaddr *)there, sizeof *there) != 0)
        fail("connect");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (write(connection, &kind, 1) != 1)
        fail("write");
    return connection;
}

/* MB/s that arrive, by the answer after the last byte. */
static double stream(const struct sockaddr_in *there) {
    static char chunk[CHUNK];
    int connection = connected(there, 's');
    double began = now(), bytes = 0;
    while (now() - began < STREAM_SECONDS) {
        ssize_t count = write(connection, chunk, sizeof chunk);
        if (count < 0)
            fail("write");
        bytes += count;
    }
    shutdown(connection, SHUT_WR);
    if (read(connection, chunk, 1) != 1)
        fail("read");
    double seconds = now() - began;
    close(connection);
    return bytes / 1e6 / seconds;
}

static int by_value(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

/* Milliseconds of a question and its answer: the median. */
static double round_trip(const struct sockaddr_in *there) {
    static double taken[QUESTIONS];
    char text[QUESTION] = {0};
    int connection = connected(there, 'e');
    for (int i = 0; i < QUESTIONS; i++) {
        double began = now();
        if (write(connection, text, sizeof text) != sizeof text)
            fail("write");
        for (size_t got = 0; got < sizeof text;) {
            ssize_t count = read(connection, text, sizeof text - got);
            if (count <= 0)
                fail("read");
            got += count;
        }
        taken[i] = (now() - began) * 1e3;
    }
    close(connection);
    qsort(taken, QUESTIONS, sizeof *taken, by_value);
    return taken[QUESTIONS / 2];
}

/* Connections per second, one after another, each with a byte there and a byte back. */
static double connections(const struct sockaddr_in *there) {
    double began = now();
    for (int i = 0; i < CONNECTIONS; i++) {
        char answer;
        int connection = connected(there, 's');
        shutdown(connection, SHUT_WR);
        if (read(connection, &answer, 1) != 1)
            fail("read");
        close(connection);
    }
    return CONNECTIONS / (now() - began);
}

static void ask(char *where) {
    struct sockaddr_in there = {.sin_family = AF_INET};
    char *port = strchr(where, ':');
    if (port == NULL)
        fail(where);
    *port = 0;
    there.sin_port = htons(atoi(port + 1));
    if (inet_pton(AF_INET, where, &there.sin_addr) != 1)
        fail(where);
    *port = ':';
    printf("{\"address\": \"%s\", \"stream\": %.1f, \"round trip\": %.4f, \"connections\": %.0f}\n", where,
           stream(&there), round_trip(&there), connections(&there));
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count == 3 && strcmp(arguments[1], "serve") == 0)
        serve(atoi(arguments[2]));
    if (count < 4 || strcmp(arguments[1], "ask") != 0)
        return 2;
    for (int round = atoi(arguments[2]); round > 0; round--)
        for (int i = 3; i < count; i++)
            ask(arguments[i]);
    return 0;
}
