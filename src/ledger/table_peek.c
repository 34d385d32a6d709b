#include "ledger/table_peek.h"

#include "ledger/table_load.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

int pt_table_peek(int fd, struct pt_table *header)
{
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return -errno;
    }
    ssize_t n = S_ISREG(about.st_mode) ? pread(fd, header, sizeof *header, 0) : 0;
    return n < 0                          ? -errno
           : n != (ssize_t)sizeof *header ? -ENODATA
                                          : pt_table_check_header(header, (uint64_t)about.st_size);
}

bool pt_table_peek_largest(int fd, const struct pt_table *header, struct pt_site *out)
{
    enum { AT_ONCE = 128 };
    static struct pt_site sites[AT_ONCE];
    out->live_bytes = 0;
    for (uint32_t row = 0; row < header->sites;) {
        uint32_t most = header->sites - row < AT_ONCE ? header->sites - row : AT_ONCE;
        ssize_t n = pread(fd, sites, most * sizeof *sites, (off_t)(header->sites_at + row * sizeof *sites));
        uint32_t got = n > 0 ? (uint32_t)((size_t)n / sizeof *sites) : 0;
        if (got == 0) {
            break;
        }
        for (uint32_t i = 0; i < got; i++) {
            /* What a thread has yet to tell may take it below none for a while. */
            if (sites[i].live_bytes > out->live_bytes && (int64_t)sites[i].live_bytes > 0) {
                *out = sites[i];
            }
        }
        row += got;
    }
    out->frames_count = out->live_bytes > 0 && out->frames_count <= PT_SITE_FRAMES ? out->frames_count : 0;
    return out->live_bytes > 0;
}

void pt_table_peek_string(int fd, const struct pt_table *header, uint32_t offset, char *out, size_t cap)
{
    size_t most = offset != 0 && offset < header->strings ? (size_t)(header->strings - offset) : 0;
    most = most < cap ? most : cap;
    ssize_t n = most > 0 ? pread(fd, out, most, (off_t)(header->strings_at + offset)) : 0;
    if (n <= 0) {
        out[0] = '\0';
    } else {
        size_t len = (size_t)n;
        if (len < cap) {
            out[len++] = '\0';
        }
        pt_table_clean_strings(out, len);
    }
}
