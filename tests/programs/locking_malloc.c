/* A malloc that keeps its memory locked, and calls mlock() for that before any library's constructor has run. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static char pool[1 << 24];
static size_t at;

void *malloc(size_t n)
{
    char *p = pool + __sync_fetch_and_add(&at, (n + 31) & ~(size_t)15);
    mlock((void *)((uintptr_t)p & ~(uintptr_t)4095), n + 4096);
    return p;
}

void *calloc(size_t n, size_t size)
{
    return malloc(n * size); /* fresh, so zero */
}

void *realloc(void *p, size_t n)
{
    void *fresh = malloc(n);
    return p != NULL ? memcpy(fresh, p, n) : fresh;
}

void free(void *p)
{
    (void)p;
}

int main(void)
{
    return malloc(10) == NULL;
}
