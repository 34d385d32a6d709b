/* Each bound that a table from elsewhere is held to: just within it and just past it. */
#include "ledger/growth.h"
#include "ledger/table_load.h"
#include "ledger/table_peek.h"
#include "table_of.h"

static struct whole copy;

static int loads(void)
{
    copy = whole;
    return pt_table_load_bytes(&copy, sizeof copy);
}

static void begin(void)
{
    table_begin(1, 0);
    (void)table_site("train.py", 7, "f");
    ck_assert_int_eq(loads(), 0);
}

#define REFUSED(field, value, error)                                                                                   \
    do {                                                                                                               \
        struct pt_table before = whole.table;                                                                          \
        whole.table.field = (value);                                                                                   \
        ck_assert_int_eq(loads(), error);                                                                              \
        whole.table = before;                                                                                          \
    } while (0)

START_TEST(headers)
{
    begin();
    const struct pt_table t = whole.table;
    REFUSED(magic, 1, -ENODATA);
    ck_assert_int_eq(pt_table_load_bytes(&whole, sizeof t - 1), -ENODATA);
    REFUSED(version, PT_TABLE_VERSION + 1, -EPROTO);
    REFUSED(header_size, sizeof t + 8, -EPROTO);
    REFUSED(record_size, 64, -EPROTO);
    REFUSED(site_size, 64, -EPROTO);
    REFUSED(foreign_at, sizeof t - 8, -EINVAL);
    REFUSED(foreign_at, t.foreign_at + 1, -EINVAL);
    REFUSED(foreign_at, t.sites_at + 8, -EINVAL);
    REFUSED(foreign_at, t.sites_at - 8, -EINVAL);
    REFUSED(foreign.rows, PT_FOREIGN_OTHER, -EINVAL);
    REFUSED(foreign.rows, PT_FOREIGN_MOST + 1, -EINVAL);
    REFUSED(foreign.rows, PT_FOREIGN_MOST, 0);
    REFUSED(sites, 0, -EINVAL);
    REFUSED(sites, (1u << PT_SITE_BITS) + 1, -EINVAL);
    REFUSED(sites, TABLE_SITES, 0);
    REFUSED(sites, TABLE_SITES + 10, -EINVAL);
    REFUSED(sites_at, t.sites_at + 4, -EINVAL);
    REFUSED(growth_at, t.growth_at + 1, -EINVAL);
    REFUSED(growth_at, t.natives_at, -EINVAL);
    REFUSED(natives_at, t.natives_at + 1, -EINVAL);
    REFUSED(natives_at, t.strings_at, -EINVAL);
    REFUSED(strings_at, t.records_at, -EINVAL);
    REFUSED(strings, 0, -EINVAL);
    REFUSED(strings, UINT64_MAX, -EINVAL);
    REFUSED(records, 0, -EINVAL);
    REFUSED(records_at, t.records_at + 8, -EINVAL);
    REFUSED(records_at, sizeof whole + 128, -EINVAL);
    REFUSED(misuses, PT_MISUSE_MOST + 1, -EINVAL);
    REFUSED(misuses, PT_MISUSE_MOST, 0);
    REFUSED(held_bys, PT_HELD_BY_MOST + 1, -EINVAL);
    REFUSED(history.width_ns, 0, -EINVAL);
    REFUSED(history.used, 0, -EINVAL);
    REFUSED(history.used, PT_MOMENTS + 1, -EINVAL);
    REFUSED(history.used, PT_MOMENTS, 0);
}
END_TEST

START_TEST(what_points_nowhere_points_to_nothing)
{
    begin();
    uint32_t past = (uint32_t)whole.table.strings;
    struct pt_site *s = &whole.site[1];
    s->frames_count = PT_SITE_FRAMES + 1;
    s->symbol = s->object = s->frames[0].file = s->frames[PT_SITE_FRAMES - 1].function = past;
    s->dtype = 127;
    s->door = PT_DOOR_COUNT;
    whole.growth[1].windows = PT_GROWTH_WINDOWS + 1;
    whole.natives[1].caller.object = whole.natives[1].frame[3].object = past;
    whole.table.misuse[0] = (struct pt_misuse){PT_MISUSE_MANAGER + 1, 1, 2, 2, 2};
    whole.table.misuse[1] = (struct pt_misuse){PT_MISUSE_MANAGER, 1, 1, 1, 1};
    whole.table.misuses = 2;
    whole.foreign[1] = (struct pt_foreign){.site = 2, .call = 9};
    whole.table.foreign.rows = 3;
    whole.foreign[2] = (struct pt_foreign){.site = 1 << PT_SITE_BITS | 1, .call = PT_FOREIGN_REGISTER};
    whole.table.host = past;
    whole.table.program = past - 1;
    whole.table.records = TABLE_RECORDS + 1;
    whole.strings[0] = 'x';
    strcpy(whole.strings + 1, "a\tb\x7f");
    ck_assert_int_eq(loads(), 0);
    const struct pt_table *t = pt_table();
    s = pt_table_site(1);
    ck_assert(s->frames_count == 0 && s->symbol == 0 && s->object == 0 && s->frames[0].file == 0 &&
              s->frames[PT_SITE_FRAMES - 1].function == 0 && s->frames[0].function != 0);
    ck_assert(s->dtype == -1 && s->door == PT_DOOR_C);
    ck_assert_uint_eq(pt_table_growth(1)->windows, 0);
    ck_assert(pt_table_natives(1)->caller.object == 0 && pt_table_natives(1)->frame[3].object == 0);
    ck_assert(t->misuse[0].kind == PT_MISUSE_FOREIGN && t->misuse[0].site == 0 && t->misuse[0].alloc_site == 0 &&
              t->misuse[0].release_site == 0);
    ck_assert(t->misuse[1].kind == PT_MISUSE_MANAGER && t->misuse[1].site == 1 && t->misuse[1].alloc_site == 1 &&
              t->misuse[1].release_site == 1);
    ck_assert(copy.foreign[1].site == 0 && copy.foreign[1].call == PT_FOREIGN_ALLOC);
    ck_assert(copy.foreign[2].site == (1 << PT_SITE_BITS | 1) && copy.foreign[2].call == PT_FOREIGN_REGISTER);
    ck_assert(t->host == 0 && t->program == past - 1);
    ck_assert(t->records == TABLE_RECORDS && t->cut_short == 1);
    ck_assert_str_eq(pt_table_string(0), "");
    ck_assert_str_eq(pt_table_string(1), "a?b?");
}
END_TEST

START_TEST(words_that_are_added)
{
    begin();
    uint32_t at = pt_table_load_string("words\n");
    ck_assert_uint_ne(at, 0);
    ck_assert_str_eq(pt_table_string(at), "words?");
    struct pt_table *t = pt_table();
    uint64_t room = t->records_at - t->strings_at - t->strings;
    char *longer = calloc(1, room + 1);
    memset(longer, 'x', room);
    ck_assert_uint_eq(pt_table_load_string(longer), 0); /* with its end there is no room */
    longer[room - 1] = '\0';
    ck_assert_uint_ne(pt_table_load_string(longer), 0);
    ck_assert_uint_eq(pt_table_load_string(""), 0);
    t->records_at = t->strings_at + ((uint64_t)1 << 33); /* more than offsets reach */
    t->strings = UINT32_MAX;
    ck_assert_uint_eq(pt_table_load_string("a"), 0);
}
END_TEST

/* ---- files ---- */

static int reads_left = -1, read_error; /* so many, then each comes to that; 0: to an end */

ssize_t pread(int fd, void *out, size_t len, off_t at)
{
    if (reads_left == 0) {
        errno = read_error;
        return read_error != 0 ? -1 : 0;
    }
    reads_left -= reads_left > 0;
    return syscall(SYS_pread64, fd, out, len, at);
}

static int table_file(void)
{
    int fd = memfd_create("table", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && pwrite(fd, &whole, sizeof whole, 0) == (ssize_t)sizeof whole);
    return fd;
}

START_TEST(files)
{
    begin();
    int fd = table_file(), ends[2];
    ck_assert_int_eq(pt_table_load(fd), 0);
    const struct pt_table *first = pt_table();
    ck_assert_int_eq(pt_table_load(fd), 0);
    ck_assert_ptr_ne(pt_table(), first);
    ck_assert_int_eq(pt_table_load(-1), -EBADF);
    REQUIRE(pipe(ends) == 0);
    ck_assert_int_eq(pt_table_load(ends[0]), -ENODATA);
    reads_left = 0;
    read_error = EIO;
    ck_assert_int_eq(pt_table_load(fd), -EIO);
    read_error = 0; /* it is cut off meanwhile */
    ck_assert_int_eq(pt_table_load(fd), -EINVAL);
    reads_left = -1;
    REQUIRE(ftruncate(fd, (off_t)sizeof(struct pt_table)) == 0);
    ck_assert_int_eq(pt_table_load(fd), -EINVAL);
    REQUIRE(ftruncate(fd, (off_t)sizeof(struct pt_table) - 1) == 0);
    ck_assert_int_eq(pt_table_load(fd), -ENODATA);
    REQUIRE(ftruncate(fd, ((off_t)4 << 30) + 1) == 0);
    ck_assert_int_eq(pt_table_load(fd), -ENODATA);
    fd = table_file();
    refuse_where(SYS_mmap, 1, (uint32_t)sizeof whole, ENOMEM);
    ck_assert_int_eq(pt_table_load(fd), -ENOMEM);
}
END_TEST

START_TEST(glances)
{
    struct pt_table header;
    struct pt_site site;
    char text[8];
    begin();
    while (whole.table.sites < TABLE_SITES) {
        whole.site[whole.table.sites++].live_bytes = 5;
    }
    whole.site[7].live_bytes = (uint64_t)-5; /* what a thread has yet to tell */
    whole.site[300].live_bytes = 9;
    whole.site[300].frames_count = PT_SITE_FRAMES;
    int fd = table_file(), ends[2];
    ck_assert_int_eq(pt_table_peek(fd, &header), 0);
    ck_assert(pt_table_peek_largest(fd, &header, &site) && site.live_bytes == 9 && site.frames_count == PT_SITE_FRAMES);
    whole.site[300].frames_count++;
    fd = table_file();
    ck_assert(pt_table_peek_largest(fd, &header, &site) && site.frames_count == 0);
    REQUIRE(ftruncate(fd, (off_t)(header.sites_at + 200 * sizeof site)) == 0); /* cut off meanwhile */
    ck_assert(pt_table_peek_largest(fd, &header, &site) && site.live_bytes == 5);
    reads_left = 0;
    read_error = EIO;
    ck_assert(!pt_table_peek_largest(fd, &header, &site) && site.frames_count == 0);
    ck_assert_int_eq(pt_table_peek(fd, &header), -EIO);
    pt_table_peek_string(fd, &header, header.program, text, sizeof text);
    ck_assert_str_eq(text, "");
    read_error = 0;
    ck_assert_int_eq(pt_table_peek(fd, &header), -ENODATA);
    reads_left = -1;
    ck_assert_int_eq(pt_table_peek(-1, &header), -EBADF);
    REQUIRE(pipe(ends) == 0);
    ck_assert_int_eq(pt_table_peek(ends[0], &header), -ENODATA);
    fd = table_file();
    pt_table_peek_string(fd, &header, header.program, text, sizeof text);
    ck_assert_str_eq(text, "train.p");
    pt_table_peek_string(fd, &header, (uint32_t)header.strings - 3, text, sizeof text); /* the last one, "f" */
    ck_assert_str_eq(text + strlen(text) + 1, "f");
    pt_table_peek_string(fd, &header, (uint32_t)header.strings, text, sizeof text);
    ck_assert_str_eq(text, "");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("table_bounds");
    tcase_add_test(tests, headers);
    tcase_add_test(tests, what_points_nowhere_points_to_nothing);
    tcase_add_test(tests, words_that_are_added);
    tcase_add_test(tests, files);
    tcase_add_test(tests, glances);
    return suite_run("table_bounds", tests);
}
