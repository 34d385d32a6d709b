#include "base/text.h"

#include "base/thread.h"
#include "base/write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

void pt_text_init(struct pt_text *t, char *buf, size_t cap, int fd)
{
    *t = (struct pt_text){.buf = buf, .cap = cap, .fd = fd};
    buf[0] = '\0';
}

static void send_first(struct pt_text *t, size_t n)
{
    t->until_ns = t->until_ns != 0 ? t->until_ns : pt_thread_now() + PT_TEXT_PATIENCE;
    t->failed = t->failed == 0 && n > 0 ? pt_write(t->fd, t->buf, n, t->until_ns) : t->failed;
    t->len -= n;
    memmove(t->buf, t->buf + n, t->len);
    t->buf[t->len] = '\0';
}

void pt_text_flush(struct pt_text *t)
{
    if (t->fd >= 0) {
        send_first(t, t->len);
    }
}

void pt_text_wait_most(struct pt_text *t, int64_t ns)
{
    t->until_ns = pt_thread_now() + ns;
}

/* The buffer is full: whole lines go, so that what somebody else writes comes between two of them. */
static void make_room(struct pt_text *t)
{
    const char *end = memrchr(t->buf, '\n', t->len);
    send_first(t, end != NULL ? (size_t)(end - t->buf) + 1 : t->len);
}

static void put_plain(struct pt_text *t, const char *s, size_t n)
{
    while (n > 0) {
        size_t room = t->cap - 1 - t->len;
        if (room == 0) {
            if (t->fd < 0) {
                return;
            }
            make_room(t);
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

static void put_bytes(struct pt_text *t, const char *s, size_t n)
{
    while (t->prefix != NULL && n > 0) {
        const char *end = memchr(s, '\n', n);
        size_t line = end != NULL ? (size_t)(end - s) + 1 : n;
        if (!t->in_line) {
            put_plain(t, t->prefix, strlen(t->prefix));
        }
        put_plain(t, s, line);
        t->in_line = end == NULL;
        s += line;
        n -= line;
    }
    put_plain(t, s, n);
}

/* The bytes of a character of UTF-8 that does nothing to a terminal; 0: it is none. */
static unsigned plain_character(const unsigned char *s)
{
    unsigned more = s[0] < 0x80 ? 0 : s[0] >= 0xc2 && s[0] < 0xe0 ? 1 : (s[0] & 0xf0) == 0xe0 ? 2 : 3;
    bool fine = s[0] >= ' ' && s[0] != 0x7f && (s[0] < 0x80 || s[0] >= 0xc2) && s[0] < 0xf5;
    for (unsigned i = 1; i <= more && fine; i++) {
        fine = (s[i] & 0xc0) == 0x80;
    }
    fine = fine && !(s[0] == 0xc2 && s[1] < 0xa0) && !(s[0] == 0xe0 && s[1] < 0xa0) &&
           !(s[0] == 0xed && s[1] >= 0xa0) && !(s[0] == 0xf0 && s[1] < 0x90) && !(s[0] == 0xf4 && s[1] >= 0x90);
    return fine ? more + 1 : 0;
}

/* A name, which may hold anything. */
static void put_name(struct pt_text *t, const char *name)
{
    const unsigned char *s = (const unsigned char *)name;
    while (*s != '\0') {
        unsigned n = plain_character(s);
        if (n > 0) {
            put_bytes(t, (const char *)s, n);
        } else if (*s == '\n' || *s == '\t') {
            put_bytes(t, *s == '\n' ? "\\n" : "\\t", 2);
        } else {
            char code[4] = {'\\', 'x', "0123456789abcdef"[*s >> 4], "0123456789abcdef"[*s & 15]};
            put_bytes(t, code, sizeof code);
        }
        s += n > 0 ? n : 1;
    }
}

void pt_text_make_plain(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned fine = plain_character((unsigned char *)text + i);
        text[i] = fine > 0 ? text[i] : '?';
        i += fine > 0 ? fine : 1;
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
        case 'S': put_name(t, va_arg(ap, const char *)); break;
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

int pt_text_find_number(int fd, const char *key, uint64_t *out)
{
    char buf[256];
    off_t offset = 0;
    size_t key_len = strlen(key), matched = 0;
    enum { AT_KEY, ELSEWHERE, BEFORE_NUMBER, IN_NUMBER, DONE, WRONG } at = key_len > 0 ? AT_KEY : BEFORE_NUMBER;
    uint64_t v = 0;
    ssize_t n;
    while (at < DONE && (n = pread(fd, buf, sizeof buf, offset)) > 0) {
        offset += n;
        for (ssize_t i = 0; i < n && at < DONE; i++) {
            char c = buf[i];
            if (at == AT_KEY && c == key[matched]) {
                at = ++matched == key_len ? BEFORE_NUMBER : AT_KEY;
            } else if (at == AT_KEY || at == ELSEWHERE) {
                at = c == '\n' ? AT_KEY : ELSEWHERE;
                matched = 0;
            } else if (c >= '0' && c <= '9') {
                v = v * 10 + (uint64_t)(c - '0');
                at = IN_NUMBER;
            } else if (at == IN_NUMBER) {
                at = DONE;
            } else if (c != ' ' && c != '\t' && c != ':') {
                at = WRONG;
            }
        }
    }
    if (at != IN_NUMBER && at != DONE) {
        return -ENOENT;
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
    int error = pt_text_find_number(fd, key, out);
    close(fd);
    return error;
}
