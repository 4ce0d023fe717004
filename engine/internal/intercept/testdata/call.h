/* System calls as bare instructions, and checks of their results and of the registers of their arguments. */
#include <stdio.h>

static int failures;

static long call(const char *name, long number, long a, long b, long c, long d, long e) {
    long arguments[6] = {a, b, c, d, e, 0x5eed}, after[6], result;
    __asm__ volatile("movq 0(%[in]), %%rdi\n\tmovq 8(%[in]), %%rsi\n\tmovq 16(%[in]), %%rdx\n\t"
                     "movq 24(%[in]), %%r10\n\tmovq 32(%[in]), %%r8\n\tmovq 40(%[in]), %%r9\n\t"
                     "syscall\n\t"
                     "movq %%rdi, 0(%[out])\n\tmovq %%rsi, 8(%[out])\n\tmovq %%rdx, 16(%[out])\n\t"
                     "movq %%r10, 24(%[out])\n\tmovq %%r8, 32(%[out])\n\tmovq %%r9, 40(%[out])"
                     : "=a"(result)
                     : "a"(number), [in] "r"(arguments), [out] "b"(after)
                     : "rdi", "rsi", "rdx", "r10", "r8", "r9", "rcx", "r11", "memory");
    for (int index = 0; index < 6; index++)
        if (after[index] != arguments[index]) {
            printf("%s: argument %d was %lx and is %lx\n", name, index, arguments[index], after[index]);
            failures++;
        }
    return result;
}

static void expect(const char *name, long result, long wanted) {
    if (result != wanted) {
        printf("%s: %ld instead of %ld\n", name, result, wanted);
        failures++;
    }
}

#define CALL(name, ...) call(#name, SYS_##name, __VA_ARGS__)
