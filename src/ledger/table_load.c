#include "ledger/table_load.h"

#include "base/dtype.h"
#include "memory/pages.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGEST ((off_t)4 << 30)

/* Whether `count` things of `size` bytes lie from `at` on, aligned, and end before `end`. */
static bool lies_before(uint64_t at, uint64_t count, uint64_t size, uint64_t align, uint64_t end)
{
    return at <= end && at % align == 0 && count <= (end - at) / size;
}

int pt_table_check_header(const struct pt_table *t, uint64_t len)
{
    if (len < sizeof *t || t->magic != PT_TABLE_MAGIC) {
        return -ENODATA;
    }
    if (t->version != PT_TABLE_VERSION || t->header_size != sizeof *t || t->record_size != sizeof(struct pt_record) ||
        t->site_size != sizeof(struct pt_site)) {
        return -EPROTO;
    }
    /* In this order: none lies over another. */
    bool whole =
        t->foreign_at >= sizeof *t && t->foreign.rows > PT_FOREIGN_OTHER && t->foreign.rows <= PT_FOREIGN_MOST &&
        lies_before(t->foreign_at, PT_FOREIGN_MOST, sizeof(struct pt_foreign), alignof(struct pt_foreign),
                    t->sites_at) &&
        t->sites >= 1 && t->sites <= 1u << PT_SITE_BITS &&
        lies_before(t->sites_at, t->sites, sizeof(struct pt_site), alignof(struct pt_site), t->growth_at) &&
        lies_before(t->growth_at, t->sites, sizeof(struct pt_growth), alignof(struct pt_growth), t->natives_at) &&
        lies_before(t->natives_at, t->sites, sizeof(struct pt_natives), alignof(struct pt_natives), t->strings_at) &&
        t->strings >= 1 && lies_before(t->strings_at, t->strings, 1, 1, t->records_at) && t->records >= 1 &&
        lies_before(t->records_at, 0, 1, alignof(struct pt_record), len) && t->misuses <= PT_MISUSE_MOST &&
        t->held_bys <= PT_HELD_BY_MOST && t->history.width_ns > 0 && t->history.used >= 1 &&
        t->history.used <= PT_MOMENTS;
    return whole ? 0 : -EINVAL;
}

void pt_table_clean_strings(char *s, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        if (((unsigned char)s[i] < ' ' && s[i] != '\0') || s[i] == 0x7f) {
            s[i] = '?';
        }
    }
    s[len - 1] = '\0';
}

static void clean_string(const struct pt_table *t, uint32_t *offset)
{
    *offset = *offset < t->strings ? *offset : 0;
}

static void clean_site(const struct pt_table *t, struct pt_site *s)
{
    s->frames_count = s->frames_count <= PT_SITE_FRAMES ? s->frames_count : 0;
    clean_string(t, &s->symbol);
    clean_string(t, &s->object);
    for (unsigned i = 0; i < PT_SITE_FRAMES; i++) {
        clean_string(t, &s->frames[i].file);
        clean_string(t, &s->frames[i].function);
    }
    s->dtype = pt_dtype_size(s->dtype) > 0 ? s->dtype : PT_DTYPE_NONE;
    s->door = s->door < PT_DOOR_COUNT ? s->door : PT_DOOR_C;
}

static void clean_misuse(const struct pt_table *t, struct pt_misuse *m)
{
    m->kind = m->kind <= PT_MISUSE_MANAGER ? m->kind : PT_MISUSE_FOREIGN;
    m->site = m->site < t->sites ? m->site : 0;
    m->alloc_site = m->alloc_site < t->sites ? m->alloc_site : 0;
    m->release_site = m->release_site < t->sites ? m->release_site : 0;
}

static void clean_foreign(const struct pt_table *t, struct pt_foreign *f)
{
    f->call = f->call == PT_FOREIGN_REGISTER ? PT_FOREIGN_REGISTER : PT_FOREIGN_ALLOC;
    f->site = pt_site_row(f->site) < t->sites ? f->site : 0;
}

int pt_table_load_bytes(void *bytes, size_t len)
{
    struct pt_table *t = bytes;
    int error = pt_table_check_header(t, len);
    if (error != 0) {
        return error;
    }
    /* A process that ran out of room in its file kept further records for itself. */
    uint64_t room = (len - t->records_at) / sizeof(struct pt_record);
    if (t->records > room) {
        t->records = (uint32_t)room;
        t->cut_short = 1;
    }
    char *strings = (char *)bytes + t->strings_at;
    pt_table_clean_strings(strings, t->strings);
    strings[0] = '\0'; /* of what has no name */
    struct pt_site *sites = (struct pt_site *)((char *)bytes + t->sites_at);
    for (uint32_t i = 0; i < t->sites; i++) {
        clean_site(t, &sites[i]);
    }
    struct pt_growth *growths = (struct pt_growth *)((char *)bytes + t->growth_at);
    for (uint32_t i = 0; i < t->sites; i++) {
        growths[i].windows = growths[i].windows <= PT_GROWTH_WINDOWS ? growths[i].windows : 0;
    }
    struct pt_natives *natives = (struct pt_natives *)((char *)bytes + t->natives_at);
    for (uint32_t i = 0; i < t->sites; i++) {
        clean_string(t, &natives[i].caller.object);
        for (unsigned k = 0; k < PT_SITE_FRAMES; k++) {
            clean_string(t, &natives[i].frame[k].object);
        }
    }
    for (uint32_t i = 0; i < t->misuses; i++) {
        clean_misuse(t, &t->misuse[i]);
    }
    for (uint32_t i = 0; i < t->held_bys; i++) {
        pt_table_clean_strings(t->held_by[i].words, sizeof t->held_by[i].words);
    }
    struct pt_foreign *foreign = (struct pt_foreign *)((char *)bytes + t->foreign_at);
    for (uint32_t i = 0; i < t->foreign.rows; i++) {
        clean_foreign(t, &foreign[i]);
    }
    clean_string(t, &t->host);
    clean_string(t, &t->program);
    pt_table_attach(t);
    return 0;
}

uint32_t pt_table_load_string(const char *s)
{
    struct pt_table *t = pt_table();
    size_t size = strlen(s) + 1;
    uint64_t at = t->strings;
    if (at + size > t->records_at - t->strings_at || at + size > UINT32_MAX) {
        return 0;
    }
    char *copy = memcpy((char *)t + t->strings_at + at, s, size);
    pt_table_clean_strings(copy, size);
    t->strings = at + size;
    return (uint32_t)at;
}

int pt_table_load(int fd)
{
    static void *loaded;
    static size_t loaded_len;
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return -errno;
    }
    if (!S_ISREG(about.st_mode) || about.st_size < (off_t)sizeof(struct pt_table) || about.st_size > LARGEST) {
        return -ENODATA;
    }
    size_t len = (size_t)about.st_size, got = 0;
    void *bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED) {
        return -errno;
    }
    ssize_t n;
    while (got < len && (n = pread(fd, (char *)bytes + got, len - got, (off_t)got)) > 0) {
        got += (size_t)n;
    }
    int error = got == len ? pt_table_load_bytes(bytes, len) : n < 0 ? -errno : -EINVAL;
    if (error != 0) {
        munmap(bytes, len);
        return error;
    }
    if (loaded != NULL) {
        munmap(loaded, loaded_len);
    }
    loaded = bytes;
    loaded_len = len;
    return 0;
}
