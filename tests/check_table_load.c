/* Tables that somebody else wrote, whole and damaged: whatever the bytes, they are refused or can be reported. */
#include "ledger/counters.h"
#include "ledger/foreign.h"
#include "ledger/growth.h"
#include "ledger/table_load.h"
#include "ledger/table_peek.h"
#include "report/report.h"
#include "suite.h"

#include <errno.h>
#include <sys/mman.h>

static char *whole;
static size_t whole_len;

/* A table of this process, as a file would have it. */
static void write_whole(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(2), 0);
    struct pt_table *t = pt_table();
    ck_assert(pt_table_open_site(1) && pt_table_open_site(2));
    for (uint32_t row = 1; row <= 2; row++) {
        struct pt_site *s = pt_table_site(row);
        s->frames_count = 2;
        s->frames[0] = (struct pt_frame){pt_table_intern("train.py"), pt_table_intern("collect"), 41};
        s->frames[1] = (struct pt_frame){pt_table_intern("evil\033[2J\nname"), pt_table_intern("main"), 7};
        s->symbol = pt_table_intern("symbol");
        s->object = pt_table_intern("object.so");
    }
    atomic_store(&t->sites, 3);
    static struct pt_record blocks[4];
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t number = pt_table_take_record();
        blocks[i] = (struct pt_record){.state = PT_LIVE, .site = 1 + i % 2, .asked = 1000 * (i + 1), .locked = 4096};
        memcpy(pt_table_record(number), &blocks[i], sizeof blocks[i]);
        pt_counters_alloc(&blocks[i], false, 0);
    }
    t->misuse[0] = (struct pt_misuse){PT_MISUSE_TWICE, 3, 1, 2, 1};
    atomic_store(&t->misuses, 1);
    memset(t->held_by[0].words, 'x', sizeof t->held_by[0].words); /* without an end */
    t->held_by[0].words[3] = '\033';
    atomic_store(&t->held_bys, 1);
    pt_foreign_reset();
    pt_foreign_add((void *)4096, 3 * MIB, PT_FOREIGN_ALLOC, 1, MIB);
    pt_foreign_add((void *)8192, MIB, PT_FOREIGN_REGISTER, 2, MIB);
    whole_len = t->records_at + 16 * sizeof(struct pt_record);
    whole = calloc(1, whole_len);
    memcpy(whole, t, t->foreign_at + PT_FOREIGN_MOST * sizeof(struct pt_foreign));
    memcpy(whole + t->sites_at, pt_table_site(0), 3 * sizeof(struct pt_site));
    memcpy(whole + t->strings_at, pt_table_string(0), atomic_load(&t->strings));
    memcpy(whole + t->records_at, pt_table_record(0), 5 * sizeof(struct pt_record));
}

static const char *reported(void)
{
    static char text[1 << 20];
    struct pt_report r;
    struct pt_text out;
    pt_counters_count_held(pt_table_site(0), pt_table()->sites);
    pt_growth_judge_all(pt_table_site(0), pt_table()->sites, pt_table_now());
    pt_report_of_table(&r);
    r.peak = r.killed = true;
    pt_text_init(&out, text, sizeof text, -1);
    (void)pt_report_write(&r, &out);
    return text;
}

START_TEST(a_whole_one_says_what_was_held)
{
    write_whole();
    ck_assert_int_eq(pt_table_load_bytes(whole, whole_len), 0);
    const char *text = reported();
    ck_assert_ptr_nonnull(
        strstr(text, "HELD       9.8 KiB in 4 blocks (16.0 KiB locked) from 1 site, alive when it was killed"));
    ck_assert_ptr_nonnull(strstr(text, "train.py:41  collect"));
    ck_assert_ptr_nonnull(strstr(text, "PEAK       9.8 KiB in 4 blocks"));
    ck_assert_ptr_nonnull(strstr(text, "MISUSED    3 times"));
    ck_assert_ptr_nonnull(strstr(text, "OTHERS     of 5.0 MiB pinned here, 1.0 MiB are pintensor's: when most was pinned, others had 4.0 MiB\n"
                                       "             3.0 MiB in 1 block by cudaHostAlloc\n"
                                       "                 train.py:41  collect\n"
                                       "             1.0 MiB in 1 block by cudaHostRegister\n"));
    ck_assert_ptr_null(strchr(text, '\033'));
    ck_assert_ptr_nonnull(strstr(text, "evil?[2J?name"));
    const struct pt_held_by *h = pt_table()->held_by;
    REQUIRE(strnlen(h->words, sizeof h->words) == sizeof h->words - 1 && h->words[3] == '?');
}
END_TEST

START_TEST(one_that_is_cut_off_is_refused_or_read)
{
    write_whole();
    char *copy = malloc(whole_len);
    for (size_t len = 0; len <= whole_len; len += len < 6000 ? 7 : 1000003) {
        memcpy(copy, whole, whole_len);
        int error = pt_table_load_bytes(copy, len);
        REQUIRE(error == -ENODATA || error == -EINVAL || error == 0);
        if (error == 0) {
            (void)reported();
        }
    }
}
END_TEST

/* What `top` does with it. The strings that it is told of end, and steer nothing. */
static size_t peeked_at(int fd)
{
    struct pt_table header;
    struct pt_site site;
    if (pt_table_peek(fd, &header) != 0) {
        return 0;
    }
    if (pt_table_peek_largest(fd, &header, &site)) {
        REQUIRE(site.frames_count <= PT_SITE_FRAMES && site.live_bytes > 0);
    }
    const uint32_t offsets[] = {header.program, header.host, site.symbol, site.frames[0].file, 0, UINT32_MAX};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        char text[20] = "xxxxxxxxxxxxxxxxxxx";
        pt_table_peek_string(fd, &header, offsets[i], text, sizeof text);
        REQUIRE(memchr(text, '\0', sizeof text) != NULL && strpbrk(text, "\n\033\177") == NULL);
    }
    return 1;
}

START_TEST(a_glance_tells_what_is_alive)
{
    write_whole();
    struct pt_table header;
    struct pt_site site;
    int fd = memfd_create("table", MFD_CLOEXEC);
    REQUIRE(pwrite(fd, whole, 100, 0) == 100 && pt_table_peek(fd, &header) == -ENODATA);
    REQUIRE(pwrite(fd, whole, whole_len, 0) == (ssize_t)whole_len && pt_table_peek(fd, &header) == 0);
    const struct pt_table *t = (const struct pt_table *)whole;
    const struct pt_site *sites = (const struct pt_site *)(whole + t->sites_at);
    uint64_t most = 0;
    for (uint32_t row = 0; row < t->sites; row++) {
        most = sites[row].live_bytes > most ? sites[row].live_bytes : most;
    }
    REQUIRE(most > 0 && pt_table_peek_largest(fd, &header, &site) && site.live_bytes == most);
    REQUIRE(header.counters.live_bytes == t->counters.live_bytes);
    REQUIRE(ftruncate(fd, sizeof header) == 0 && pt_table_peek(fd, &header) == -EINVAL);
    close(fd);
}
END_TEST

/* Any byte of what is used may be any other. */
START_TEST(a_damaged_one_is_refused_or_read)
{
    write_whole();
    const struct pt_table *t = (const struct pt_table *)whole;
    const size_t begins[] = {0, t->sites_at, t->growth_at, t->strings_at, t->records_at};
    const size_t lengths[] = {sizeof *t, 3 * sizeof(struct pt_site), 3 * sizeof(struct pt_growth), 200,
                              5 * sizeof(struct pt_record)};
    const uint64_t values[] = {0, 1, UINT64_MAX, 0x7fffffffffffffff, 0xffffffff, 0x80000000};
    size_t used = t->strings_at + 4096, read = 0, peeked = 0;
    int fd = memfd_create("table", MFD_CLOEXEC);
    REQUIRE(ftruncate(fd, (off_t)whole_len) == 0);
    char *copy = calloc(1, whole_len);
    srand((unsigned)_i + 1);
    for (int turn = 0; turn < 3000; turn++) {
        memcpy(copy, whole, used);
        memcpy(copy + begins[4], whole + begins[4], whole_len - begins[4]);
        for (int damage = rand() % 6; damage >= 0; damage--) {
            int part = rand() % 5;
            uint64_t value = rand() % 2 ? values[rand() % 6] : (uint64_t)rand() * 2654435761u;
            size_t width = (size_t)1 << rand() % 4, at = (size_t)rand() % (lengths[part] - 8) / width * width;
            memcpy(copy + begins[part] + at, &value, width);
        }
        for (int part = 0; part < 5; part++) {
            REQUIRE(pwrite(fd, copy + begins[part], lengths[part], (off_t)begins[part]) == (ssize_t)lengths[part]);
        }
        peeked += peeked_at(fd);
        if (pt_table_load_bytes(copy, whole_len) == 0) {
            read++;
            (void)reported();
        }
    }
    close(fd);
    REQUIRE(read > 100 && peeked >= read);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("table_load");
    tcase_add_test(tests, a_whole_one_says_what_was_held);
    tcase_add_test(tests, one_that_is_cut_off_is_refused_or_read);
    tcase_add_test(tests, a_glance_tells_what_is_alive);
    tcase_add_loop_test(tests, a_damaged_one_is_refused_or_read, 0, 4);
    return suite_run("table_load", tests);
}
