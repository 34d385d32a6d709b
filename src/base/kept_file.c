#include "base/kept_file.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

void pt_kept_file_open(struct pt_kept *f, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *f = (struct pt_kept){0};
    if (fd >= 0) {
        (void)pt_kept_take(f, fd);
    }
}

/* One character after another tells whether a line has the key, and the number behind it. */
struct reader {
    const char *key;
    size_t len, matched;
    enum { AT_START, AT_KEY, ELSEWHERE, BEFORE_NUMBER, IN_NUMBER } at;
    uint64_t number, sum;
    unsigned found;
};

static void begin_line(struct reader *r)
{
    r->matched = 0;
    r->at = r->len > 0 ? AT_START : BEFORE_NUMBER;
}

static void take(struct reader *r, char c, bool indented)
{
    bool blank = c == ' ' || c == '\t';
    if (r->at == IN_NUMBER && (c < '0' || c > '9')) {
        r->found++;
        r->sum += r->number;
        r->at = ELSEWHERE;
    }
    if (c == '\n') {
        begin_line(r);
    } else if (r->at == AT_START && blank && indented) {
        return;
    } else if (r->at == AT_START || r->at == AT_KEY) {
        r->at = c != r->key[r->matched] ? ELSEWHERE : ++r->matched == r->len ? BEFORE_NUMBER : AT_KEY;
        r->number = 0;
    } else if ((r->at == BEFORE_NUMBER || r->at == IN_NUMBER) && c >= '0' && c <= '9') {
        r->number = r->number * 10 + (uint64_t)(c - '0');
        r->at = IN_NUMBER;
    } else if (r->at == BEFORE_NUMBER && !blank && c != ':') {
        r->at = ELSEWHERE;
    }
}

static bool read_all(const struct pt_kept *f, const char *key, bool all, uint64_t *out)
{
    struct reader r = {.key = key, .len = strlen(key)};
    char buf[256];
    off_t at = 0;
    ssize_t n;
    begin_line(&r);
    int fd;
    while ((r.found == 0 || all) && (fd = pt_kept_fd(f)) >= 0 && (n = pread(fd, buf, sizeof buf, at)) > 0) {
        for (ssize_t i = 0; i < n && (r.found == 0 || all); i++) {
            take(&r, buf[i], all);
        }
        at += n;
    }
    take(&r, '\n', all);
    *out = r.found > 0 ? r.sum : *out;
    return r.found > 0;
}

bool pt_kept_file_number(const struct pt_kept *f, const char *key, uint64_t *out)
{
    return read_all(f, key, false, out);
}

bool pt_kept_file_sum(const struct pt_kept *f, const char *key, uint64_t *out)
{
    return read_all(f, key, true, out);
}

uint64_t pt_kept_file_number_or_0(const struct pt_kept *f, const char *key)
{
    uint64_t n = 0;
    (void)pt_kept_file_number(f, key, &n);
    return n;
}
