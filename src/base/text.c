#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void pt_text_init(struct pt_text *t, char *buf, size_t cap, int fd)
{
    *t = (struct pt_text){.buf = buf, .cap = cap, .fd = fd};
    buf[0] = '\0';
}

/* write() that never raises SIGPIPE: a closed pipe behind stderr must not end the program. Returns -errno on failure. */
static ssize_t write_quietly(int fd, const char *p, size_t n)
{
    sigset_t pipe, before, waiting;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&waiting);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    ssize_t done = write(fd, p, n);
    int error = errno;
    if (done < 0 && error == EPIPE && !sigismember(&waiting, SIGPIPE)) {
        (void)sigtimedwait(&pipe, NULL, &(struct timespec){0});
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return done < 0 ? -error : done;
}

void pt_text_flush(struct pt_text *t)
{
    size_t done = 0;
    while (t->fd >= 0 && done < t->len && t->failed == 0) {
        ssize_t n = write_quietly(t->fd, t->buf + done, t->len - done);
        if (n == -EAGAIN) { /* somebody made it non-blocking */
            (void)poll(&(struct pollfd){.fd = t->fd, .events = POLLOUT}, 1, 1000);
        } else if (n < 0 && n != -EINTR) {
            t->failed = (int)-n;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (t->fd >= 0) {
        t->len = 0;
        t->buf[0] = '\0';
    }
}

static void put_bytes(struct pt_text *t, const char *s, size_t n)
{
    while (n > 0) {
        size_t room = t->cap - 1 - t->len;
        if (room == 0) {
            if (t->fd < 0) {
                return;
            }
            pt_text_flush(t);
            continue;
        }
        size_t part = n < room ? n : room;
        memcpy(t->buf + t->len, s, part);
        t->len += part;
        t->buf[t->len] = '\0';
        s += part;
        n -= part;
    }
}

static void put_padded(struct pt_text *t, const char *s, size_t n, int width)
{
    size_t want = (size_t)(width < 0 ? -width : width);
    size_t pad = want > n ? want - n : 0;
    for (size_t i = 0; width > 0 && i < pad; i++) {
        put_bytes(t, " ", 1);
    }
    put_bytes(t, s, n);
    for (size_t i = 0; width < 0 && i < pad; i++) {
        put_bytes(t, " ", 1);
    }
}

/* Writes v in `base`, with a comma before every third digit if asked; returns where it starts. */
static char *digits(char *end, uint64_t v, unsigned base, bool commas)
{
    *end = '\0';
    unsigned n = 0;
    do {
        if (commas && n > 0 && n % 3 == 0) {
            *--end = ',';
        }
        *--end = "0123456789abcdef"[v % base];
        v /= base;
        n++;
    } while (v != 0);
    return end;
}

static void put_number(struct pt_text *t, uint64_t v, unsigned base, bool commas, int width)
{
    char buf[40];
    char *end = buf + sizeof buf - 1;
    char *s = digits(end, v, base, commas);
    put_padded(t, s, (size_t)(end - s), width);
}

/* One decimal, rounded to nearest: sizes are compared by people, not by programs. */
static void put_size(struct pt_text *t, uint64_t bytes, int width)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    uint64_t scale = 1;
    while (unit < 4 && bytes / scale >= 1000) {
        scale *= 1024;
        unit++;
    }
    char buf[48];
    struct pt_text part;
    pt_text_init(&part, buf, sizeof buf, -1);
    if (unit == 0) {
        pt_text_add(&part, "%llu B", bytes);
    } else {
        uint64_t tenths = bytes / scale * 10 + (bytes % scale * 10 + scale / 2) / scale;
        pt_text_add(&part, "%llu.%llu %s", tenths / 10, tenths % 10, units[unit]);
    }
    put_padded(t, part.buf, part.len, width);
}

static void put_age(struct pt_text *t, uint64_t ns)
{
    uint64_t s = ns / 1000000000u;
    if (s < 10) {
        pt_text_add(t, "%llu.%llu s", s, ns / 100000000u % 10);
    } else if (s < 120) {
        pt_text_add(t, "%llu s", s);
    } else if (s < 7200) {
        pt_text_add(t, "%llu min", s / 60);
    } else {
        pt_text_add(t, "%llu h", s / 3600);
    }
}

void pt_text_add(struct pt_text *t, const char *f, ...)
{
    va_list ap;
    va_start(ap, f);
    while (*f != '\0') {
        size_t plain = strcspn(f, "%");
        put_bytes(t, f, plain);
        f += plain;
        if (*f == '\0') {
            break;
        }
        f++;
        bool left = *f == '-';
        f += left;
        int width = 0;
        while (*f >= '0' && *f <= '9') {
            width = width * 10 + (*f++ - '0');
        }
        width = left ? -width : width;
        int longs = 0;
        bool size = false;
        while (*f == 'l' || *f == 'z') {
            longs += *f == 'l';
            size |= *f++ == 'z';
        }
        switch (*f++) {
        case 's': {
            const char *s = va_arg(ap, const char *);
            put_padded(t, s, strlen(s), width);
            break;
        }
        case 'd': {
            int v = va_arg(ap, int);
            if (v < 0) {
                put_bytes(t, "-", 1);
            }
            put_number(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, false, width);
            break;
        }
        case 'u':
            put_number(t,
                       size        ? va_arg(ap, size_t)
                       : longs > 0 ? va_arg(ap, uint64_t)
                                   : va_arg(ap, unsigned),
                       10, false, width);
            break;
        case 'p':
            put_bytes(t, "0x", 2);
            put_number(t, (uintptr_t)va_arg(ap, void *), 16, false, 0);
            break;
        case 'x': put_number(t, va_arg(ap, uint64_t), 16, false, width); break;
        case 'B': put_size(t, va_arg(ap, size_t), width); break;
        case 'N': put_number(t, va_arg(ap, uint64_t), 10, true, width); break;
        case 'T': put_age(t, va_arg(ap, uint64_t)); break;
        default: put_bytes(t, "%", 1); break;
        }
    }
    va_end(ap);
}

unsigned pt_text_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t la = strlen(a), lb = strlen(b);
    if (la >= MAX || lb >= MAX) {
        return MAX;
    }
    unsigned row[MAX];
    for (size_t j = 0; j <= lb; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < best ? change : best;
        }
    }
    return row[lb];
}

int pt_text_parse_u64(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (*s == '\0') {
        return -EINVAL;
    }
    for (; *s != '\0'; s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10) {
            return -EINVAL;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return 0;
}

int pt_text_proc_number(const char *path, const char *key, uint64_t *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    char buf[8192];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof buf - 1 && (n = read(fd, buf + len, sizeof buf - 1 - len)) > 0) {
        len += (size_t)n;
    }
    close(fd);
    buf[len] = '\0';
    const char *at = buf;
    size_t key_len = strlen(key);
    while (key_len > 0 && strncmp(at, key, key_len) != 0) {
        at = strchr(at, '\n');
        if (at == NULL) {
            return -ENOENT;
        }
        at++;
    }
    at += key_len;
    while (*at == ' ' || *at == '\t' || *at == ':') {
        at++;
    }
    if (*at < '0' || *at > '9') {
        return -ENOENT;
    }
    uint64_t v = 0;
    while (*at >= '0' && *at <= '9') {
        v = v * 10 + (uint64_t)(*at++ - '0');
    }
    *out = v;
    return 0;
}
