/* Paths at the edges of memory: one that ends with the last byte before a page that may not be read, one that crosses two
 * pages, one in a page that may only be read. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static int check(const char *name, const char *path) {
    char buffer[16] = {0};
    int descriptor = open(path, O_RDONLY);
    int wrong = descriptor < 0 || read(descriptor, buffer, sizeof buffer - 1) != 11;
    if (wrong)
        printf("%s: %d\n", name, descriptor);
    close(descriptor);
    return wrong;
}

int main(int count, char **arguments) {
    char *pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t size = strlen(arguments[1]) + 1;
    mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
    int wrong = check("before a forbidden page", memcpy(pages + 2 * PAGE - size, arguments[1], size));
    wrong += check("across pages", memcpy(pages + PAGE - size / 2, arguments[1], size));
    memcpy(pages, arguments[1], size);
    mprotect(pages, PAGE, PROT_READ);
    wrong += check("in a page to read", pages);
    wrong += memcmp(pages, arguments[1], size) != 0;
    /* Without its final NUL, a path runs into the forbidden page. */
    memset(pages + 2 * PAGE - 8, 'x', 8);
    wrong += open(pages + 2 * PAGE - 8, O_RDONLY) != -1;
    return count != 2 || wrong;
}
