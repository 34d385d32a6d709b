#include "base/program_name.h"
#include "base/text.h"
#include "suite.h"

#include <errno.h>
#include <stdint.h>

static const char *format_size(size_t bytes)
{
    static char buf[32];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_text_add(&t, "%B", bytes);
    return buf;
}

START_TEST(sizes_have_one_decimal_and_the_unit_that_reads_best)
{
    ck_assert_str_eq(format_size(0), "0 B");
    ck_assert_str_eq(format_size(999), "999 B");
    ck_assert_str_eq(format_size(1000), "1.0 KiB");
    ck_assert_str_eq(format_size(1536), "1.5 KiB");
    ck_assert_str_eq(format_size(5 * MIB + 7 * MIB / 10), "5.7 MiB");
    ck_assert_str_eq(format_size((size_t)3 << 30), "3.0 GiB");
    ck_assert_str_eq(format_size((size_t)4 << 40), "4.0 TiB");
    ck_assert_str_eq(format_size(SIZE_MAX), "16777216.0 TiB");
}
END_TEST

START_TEST(every_conversion)
{
    char buf[256];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_text_add(&t, "%s %d %d %u %zu %llu %x %% %N %N", "s", -7, 0, 4000000000u, (size_t)1 << 40, (uint64_t)UINT64_MAX,
                (uint64_t)0xbeef, (uint64_t)999, (uint64_t)1234567);
    ck_assert_str_eq(buf, "s -7 0 4000000000 1099511627776 18446744073709551615 beef % 999 1,234,567");
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_text_add(&t, "%p", (void *)0x1234);
    ck_assert_str_eq(buf, "0x1234");
}
END_TEST

START_TEST(ages_have_one_unit)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } ages[] = {{0, "0.0 s"},
                {1500000000u, "1.5 s"},
                {60 * (uint64_t)1000000000, "60 s"},
                {600 * (uint64_t)1000000000, "10 min"},
                {36000 * (uint64_t)1000000000, "10 h"}};
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++) {
        char buf[32];
        struct pt_text t;
        pt_text_init(&t, buf, sizeof buf, -1);
        pt_text_add(&t, "%T", ages[i].ns);
        ck_assert_str_eq(buf, ages[i].text);
    }
}
END_TEST

START_TEST(padding)
{
    char buf[64];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_text_add(&t, "%-5s|%5s|%2s|%5u|%9B", "ab", "cd", "longer", 42u, (size_t)1024);
    ck_assert_str_eq(buf, "ab   |   cd|longer|   42|  1.0 KiB");
}
END_TEST

START_TEST(what_does_not_fit_is_cut_off)
{
    char buf[16];
    memset(buf, '#', sizeof buf);
    struct pt_text t;
    pt_text_init(&t, buf, 8, -1);
    pt_text_add(&t, "%s%s", "12345", "67890");
    pt_text_add(&t, "more");
    ck_assert_str_eq(buf, "1234567");
    ck_assert_uint_eq(t.len, 7);
    ck_assert_int_eq(buf[8], '#');
}
END_TEST

START_TEST(what_does_not_fit_goes_to_the_file)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    char buf[8], out[64] = "";
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, fds[1]);
    pt_text_add(&t, "%s %s", "twelve bytes", "and more than the buffer");
    pt_text_flush(&t);
    ck_assert_int_eq(t.failed, 0);
    ck_assert_int_eq((int)read(fds[0], out, sizeof out - 1), 37);
    ck_assert_str_eq(out, "twelve bytes and more than the buffer");
}
END_TEST

START_TEST(a_write_that_fails_is_remembered)
{
    int fd = open("/dev/full", O_WRONLY);
    char buf[8];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, fd);
    pt_text_add(&t, "%s", "longer than the buffer");
    pt_text_flush(&t);
    ck_assert_int_eq(t.failed, ENOSPC);
}
END_TEST

START_TEST(numbers_are_parsed_whole_or_not_at_all)
{
    uint64_t v = 1;
    ck_assert(pt_text_parse_u64("0", &v) == 0 && v == 0);
    ck_assert(pt_text_parse_u64("86400", &v) == 0 && v == 86400);
    ck_assert(pt_text_parse_u64("18446744073709551615", &v) == 0 && v == UINT64_MAX);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x10", "1.5", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = 7;
        ck_assert_msg(pt_text_parse_u64(bad[i], &v) == -EINVAL && v == 7, "\"%s\"", bad[i]);
    }
}
END_TEST

START_TEST(distance_counts_edits)
{
    ck_assert_uint_eq(pt_text_distance("", ""), 0);
    ck_assert_uint_eq(pt_text_distance("STACK", "STACK"), 0);
    ck_assert_uint_eq(pt_text_distance("", "abc"), 3);
    ck_assert_uint_eq(pt_text_distance("kitten", "sitting"), 3);
    ck_assert_uint_eq(pt_text_distance("STAKC", "STACK"), 2);
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    ck_assert_uint_ge(pt_text_distance(longer, "x"), 60); /* no such word is near */
    ck_assert_uint_ge(pt_text_distance("x", longer), 60);
}
END_TEST

START_TEST(numbers_in_files_like_those_of_proc)
{
    char name[] = "/tmp/pintensor-check-XXXXXX";
    int fd = mkstemp(name);
    dprintf(fd, "VmPeak:\t  17 kB\nVmLck:\t  4096 kB\nName: x\n");
    uint64_t v = 0;
    ck_assert(pt_text_proc_number(name, "VmLck", &v) == 0 && v == 4096);
    ck_assert(pt_text_proc_number(name, "VmPeak", &v) == 0 && v == 17);
    ck_assert_int_lt(pt_text_proc_number(name, "VmNone", &v), 0);
    ck_assert_int_lt(pt_text_proc_number(name, "Name", &v), 0);
    ck_assert_int_lt(pt_text_proc_number(name, "", &v), 0);
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq((int)pwrite(fd, "12", 2, 0), 2); /* it ends with the number */
    ck_assert(pt_text_proc_number(name, "", &v) == 0 && v == 12);
    unlink(name);
    ck_assert_int_eq(pt_text_proc_number(name, "VmLck", &v), -ENOENT);
    close(fd);
}
END_TEST

/* Names come from the program: each is one line of UTF-8 that does nothing to a terminal. */
static const struct {
    const char *name, *shown;
} names[] = {
    {"train.py", "train.py"},
    {"pl\xc3\xa4tze \xe2\x82\xac \xf0\x9f\x94\xa5", "pl\xc3\xa4tze \xe2\x82\xac \xf0\x9f\x94\xa5"},
    {"two\nlines", "two\\nlines"},
    {"\x1b[2Jgone", "\\x1b[2Jgone"},
    {"\x7f\x01", "\\x7f\\x01"},
    {"cut \xe2\x82", "cut \\xe2\\x82"},
    {"alone \x82", "alone \\x82"},
    {"too long \xc0\xaf", "too long \\xc0\\xaf"}, /* a slash in two bytes */
    {"half a pair \xed\xa0\x80", "half a pair \\xed\\xa0\\x80"},
    {"beyond \xf4\x90\x80\x80", "beyond \\xf4\\x90\\x80\\x80"},
    {"steers \xc2\x9b", "steers \\xc2\\x9b"}, /* what ESC [ is in one */
    {"a tab\t", "a tab\\t"},
    {"the first of each length: \xc2\xa0 \xe0\xa0\x80 \xf0\x90\x80\x80",
     "the first of each length: \xc2\xa0 \xe0\xa0\x80 \xf0\x90\x80\x80"},
    {"before them \xe0\x9f\xbf", "before them \\xe0\\x9f\\xbf"},
    {"before them \xf0\x8f\xbf\xbf", "before them \\xf0\\x8f\\xbf\\xbf"},
    {"the last ones: \xed\x9f\xbf \xf4\x8f\xbf\xbf", "the last ones: \xed\x9f\xbf \xf4\x8f\xbf\xbf"},
    {"no lead \xf5\x80\x80\x80", "no lead \\xf5\\x80\\x80\\x80"},
    {"", ""},
};

START_TEST(a_line_is_made_plain)
{
    char line[] = "pl\xc3\xa4tze \x1b[2J \xe2\x82\xac \xff \x82.";
    pt_text_make_plain(line, sizeof line - 1);
    ck_assert_str_eq(line, "pl\xc3\xa4tze ?[2J \xe2\x82\xac ? ?.");
}
END_TEST

START_TEST(names_are_one_line_that_steers_nothing)
{
    char buf[256];
    struct pt_text t;
    pt_text_init(&t, buf, sizeof buf, -1);
    pt_text_add(&t, "<%S>", names[_i].name);
    ck_assert_msg(buf[0] == '<' && strncmp(buf + 1, names[_i].shown, strlen(names[_i].shown)) == 0 &&
                      strcmp(buf + 1 + strlen(names[_i].shown), ">") == 0,
                  "%u: %s", _i, buf);
}
END_TEST

/* A command line: its words, parted by '|' here. */
static const struct {
    const char *line, *name; /* NULL: it does not tell */
} programs[] = {
    {"/usr/bin/train|--steps|5|", "train"},
    {"python3|-u|/home/me/train.py|--epochs|3|", "train.py"},
    {"/opt/bin/python3.11|-X|dev|-W|error|-O|src/train.py|", "train.py"},
    {"python|-m|torch.distributed.run|--nproc|2|", "python -m torch.distributed.run"},
    {"python|-c|import torch|", "python -c"},
    {"python|-|", "python -"},
    {"python|-m|", "python"},
    {"python|-X|", "python"},
    {"python3|", "python3"},
    {"", NULL},
    {"cut", NULL},
    {"|x|", NULL},
    {"/bin/|", NULL},
};

START_TEST(what_people_call_a_program)
{
    char words[100], buf[100] = "";
    size_t n = strlen(programs[_i].line);
    struct pt_text t;
    memcpy(words, programs[_i].line, n + 1);
    for (size_t i = 0; i < n; i++) {
        words[i] = words[i] == '|' ? '\0' : words[i];
    }
    pt_text_init(&t, buf, sizeof buf, -1);
    ck_assert(pt_program_name_of(words, n, &t) == (programs[_i].name != NULL));
    ck_assert_str_eq(buf, programs[_i].name != NULL ? programs[_i].name : "");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("text");
    tcase_add_test(tests, sizes_have_one_decimal_and_the_unit_that_reads_best);
    tcase_add_test(tests, every_conversion);
    tcase_add_test(tests, ages_have_one_unit);
    tcase_add_test(tests, padding);
    tcase_add_test(tests, what_does_not_fit_is_cut_off);
    tcase_add_test(tests, what_does_not_fit_goes_to_the_file);
    tcase_add_test(tests, a_write_that_fails_is_remembered);
    tcase_add_test(tests, numbers_are_parsed_whole_or_not_at_all);
    tcase_add_test(tests, distance_counts_edits);
    tcase_add_test(tests, numbers_in_files_like_those_of_proc);
    tcase_add_test(tests, a_line_is_made_plain);
    tcase_add_loop_test(tests, names_are_one_line_that_steers_nothing, 0, sizeof names / sizeof *names);
    tcase_add_loop_test(tests, what_people_call_a_program, 0, sizeof programs / sizeof *programs);
    return suite_run("text", tests);
}
