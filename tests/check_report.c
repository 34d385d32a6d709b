/* `pintensor report` of tables that are written word by word: all that they may hold, in each way to tell. */
#include "cli/report_escape.h"
#include "cli/report_verb.h"
#include "folder.h"
#include "table_of.h"

static void begin(void)
{
    folder_begin();
    table_begin(4000001, 3);
}

static int status;

#define SAID(fd, ...)   said_by(pt_report_verb, "report", fd, (const char *const[]){__VA_ARGS__, NULL}, &status)
#define REPORT(...)     SAID(STDOUT_FILENO, __VA_ARGS__)
#define COMPLAINTS(...) SAID(STDERR_FILENO, __VA_ARGS__)

static void text_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    REQUIRE(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* ---- what a table may hold ---- */

/* A row of each kind. */
static void fill(void)
{
    struct pt_site *s = table_site("train.py", 7, "collect");
    s->held = 2, s->held_bytes = 3000, s->held_locked = 8192;
    s->reclaimed = 1, s->reclaimed_bytes = 100, s->reclaimed_locked = 4096;
    s = table_site("train.py", 9, "grow");
    s->held = 1, s->held_bytes = 2000, s->held_locked = 4096, s->growing = 1, s->rises = 4, s->first_ns = 1500000000;
    s = table_site("lib.py", 0, "native+0x2a"); /* no line, and not the user's */
    s->library = 1;
    s->peak_blocks = 1, s->peak_bytes = 500, s->peak_locked = 4096;
    struct pt_site *none = table_site("", 0, "");
    none->frames_count = 0, none->held = 1, none->held_bytes = 10;
    struct pt_site *symbol = table_site("", 0, "");
    symbol->frames_count = 0, symbol->symbol = table_string("pin+0x10"), symbol->object = table_string("job.so");
    symbol->reclaimed = 1, symbol->reclaimed_bytes = 20, symbol->reclaimed_locked = 64;
    struct pt_site *freed = table_site("train.py", 11, "free_twice");
    freed->allocated = 0; /* known for its misuse alone */
    whole.table.misuse[0] = (struct pt_misuse){PT_MISUSE_TWICE, 3, table_row(freed), 1, table_row(freed)};
    whole.table.misuse[1] = (struct pt_misuse){PT_MISUSE_FOREIGN, 1, 2, 0, 0};
    whole.table.misuses = 2;
    whole.table.held_by[0] =
        (struct pt_held_by){.row = 1, .blocks = 2, .bytes = 3000, .words = "list 'kept' of train.py"};
    whole.table.held_by[1] =
        (struct pt_held_by){.row = 1, .blocks = 1, .bytes = 1000, .words = "dict 'more' of train.py"};
    whole.table.held_by[2] = (struct pt_held_by){.row = 2, .blocks = 1, .bytes = 2000, .words = "deque 'all'"};
    whole.table.held_bys = 3;
    whole.table.foreign = (struct pt_foreign_sum){.rows = 4,
                                                  .pinned = 9,
                                                  .missed = 1,
                                                  .live = 3,
                                                  .live_bytes = 7000,
                                                  .peak = 4,
                                                  .peak_bytes = 8000,
                                                  .peak_ours = 900};
    whole.foreign[PT_FOREIGN_OTHER] = (struct pt_foreign){.pinned = 5, .live = 1, .live_bytes = 1000};
    whole.foreign[2] =
        (struct pt_foreign){.site = 2, .call = PT_FOREIGN_REGISTER, .pinned = 4, .live = 2, .live_bytes = 6000};
    whole.table.counters.peak_bytes = 5600;
    whole.table.counters.at_peak_locked = 16384;
}

START_TEST(all_of_it_as_json)
{
    begin();
    fill();
    whole.table.cut_short = 1;
    table_write(in("a.table"));
    const char *text = REPORT("--json", in("a.table"));
    ck_assert_int_eq(status, 0);
    HAS(text,
        "\"host\":\"elsewhere\",\"pid\":4000001,\"rank\":3,\"state\":\"ended\",\"complete\":false,\"seconds\":2.000");
    HAS(text, ",\"growing\":{\"blocks\":1,\"bytes\":2000,\"locked\":4096},\"reclaimed\":{\"blocks\":2,\"bytes\":120,"
              "\"locked\":4160},\"held\":{\"blocks\":3,\"bytes\":3010,\"locked\":8192}");
    HAS(text, ",\"others\":{\"pinned\":9,\"missed\":1,\"live\":{\"blocks\":3,\"bytes\":7000},\"at_peak\":{\"blocks\":4,"
              "\"bytes\":8000,\"pintensor\":900},\"lines\":[{\"site\":null,\"call\":\"cudaHostAlloc\",\"pinned\":5,"
              "\"live\":{\"blocks\":1,\"bytes\":1000}");
    HAS(text, "},{\"site\":\"");
    HAS(text, "\",\"call\":\"cudaHostRegister\",\"pinned\":4,\"live\":{\"blocks\":2,\"bytes\":6000}");
    HAS(text, "\"misused\":[\n{\"process\":0,\"kind\":\"twice\",\"times\":3,\"at\":\"");
    HAS(text, ",\n{\"process\":0,\"kind\":\"foreign\",\"times\":1,\"at\":\"");
    HAS(text, "\",\"allocated_at\":null,\"freed_at\":null}");
    HAS(text, "\"held_by\":[{\"way\":\"list 'kept' of train.py\",\"blocks\":2,\"bytes\":3000},{\"way\":\"dict 'more' "
              "of train.py\",\"blocks\":1,\"bytes\":1000}]");
    HAS(text, "\"first_seconds\":0.500,");
    HAS(text, "\"frames\":[{\"file\":\"train.py\",\"line\":11,\"function\":\"free_twice\",\"own\":true}]");
    HAS(text, "\"symbol\":\"pin+0x10\",\"object\":\"job.so\"");
    LACKS(text, "deque 'all'\",\"blocks\":2");
    folder_end();
}
END_TEST

START_TEST(in_words)
{
    begin();
    fill();
    table_write(in("a.table"));
    const char *text = REPORT(in("a.table"));
    HAS(text, "GROWING    2.0 KiB in 1 block");
    HAS(text, "RECLAIMED  100 B in 1 block");
    HAS(text, "RECLAIMED  20 B in 1 block");
    HAS(text, "HELD       2.9 KiB in 3 blocks");
    HAS(text, "MISUSED    3 times");
    HAS(text, "others had 7.8 KiB");
    ck_assert_int_eq((REPORT("--fail-on=misused", in("a.table")), status), 3);
    folder_end();
}
END_TEST

/* Those with most first, and of many the first few. */
START_TEST(what_others_pinned)
{
    begin();
    static const unsigned kib[] = {3, 1, 9, 5, 7, 2, 8};
    for (unsigned i = 0; i < 7; i++) {
        struct pt_site *s = table_site("others.py", i + 1, "f");
        s->allocated = 0;
        whole.foreign[2 + i] =
            (struct pt_foreign){.site = table_row(s), .pinned = 5, .live = i == 2 ? 2 : 1, .live_bytes = kib[i] * KIB};
    }
    whole.foreign[4].peak = 1; /* more since, which does not count */
    whole.foreign[4].peak_bytes = 10 * KIB;
    whole.foreign[4].peaks_seen = 1;
    whole.foreign[PT_FOREIGN_OTHER] = (struct pt_foreign){.pinned = 9, .live = 4, .live_bytes = 6 * KIB};
    whole.table.foreign = (struct pt_foreign_sum){
        .rows = 9, .pinned = 44, .peaks = 1, .peak = 11, .peak_bytes = 42 * KIB, .peak_ours = KIB};
    table_write(in("a.table"));
    HAS(REPORT(in("a.table")),
        "  OTHERS     of 43.0 KiB pinned here, 1.0 KiB are pintensor's: when most was pinned, others had 42.0 KiB\n"
        "             10.0 KiB in 1 block by cudaHostAlloc, 9.0 KiB in 2 now\n                 others.py:3  f\n"
        "             8.0 KiB in 1 block by cudaHostAlloc\n                 others.py:7  f\n"
        "             7.0 KiB in 1 block by cudaHostAlloc\n                 others.py:5  f\n"
        "             6.0 KiB in 4 blocks by cudaHostAlloc\n                 (from more places than are told apart)\n"
        "             5.0 KiB in 1 block by cudaHostAlloc\n                 others.py:4  f\n"
        "             and 3 more lines\n");
    whole.foreign[2].live = whole.foreign[3].live = 0;
    table_write(in("a.table"));
    HAS(REPORT(in("a.table")), "             and 1 more line\n");
    folder_end();
}
END_TEST

START_TEST(suppressed)
{
    begin();
    fill();
    table_write(in("a.table"));
    text_file(in("all"), "leak:*r*\nleak:^free_twice$\nleak:^native$\nleak:no_such_name\n");
    const char *text = REPORT("--suppressions", in("all"), "--fail-on=misused,growing,reclaimed", in("a.table"));
    ck_assert_int_eq(status, 3); /* the symbol's is left */
    LACKS(text, "GROWING");
    HAS(text, "RECLAIMED  20 B in 1 block");
    HAS(text, "HELD       10 B in 1 block");
    LACKS(text, "MISUSED");
    HAS(text, "Suppressions used:\n  count      bytes template\n      8       5100 *r*\n");
    LACKS(text, "no_such_name");
    text_file(in("two"), "leak:^free_twice$\nleak:^pin$\n");
    text = REPORT("--suppressions", in("two"), "--json", in("a.table"));
    HAS(text, "\"suppressed\":[{\"pattern\":\"^free_twice$\",\"blocks\":0,\"bytes\":0,\"misused\":3},{\"pattern\":\"^"
              "pin$\",\"blocks\":1,\"bytes\":20,\"misused\":0}]");
    HAS(text, "\"misused\":[\n{\"process\":0,\"kind\":\"foreign\",\"times\":1,");
    text = REPORT("--suppressions", in("two"), in("a.table"));
    HAS(text, "      3          0 ^free_twice$\n      1         20 ^pin$\n");
    folder_end();
}
END_TEST

START_TEST(suppressions_that_are_none)
{
    static const char *const lines[] = {"leak:\n", "leek:x\n", "# known\n\n  leak\n"};
    char wanted[512];
    begin();
    table_write(in("a.table"));
    text_file(in("wrong"), lines[_i]);
    snprintf(wanted, sizeof wanted, "pintensor: %s:%d: no suppression: they are written leak:PATTERN\n", in("wrong"),
             _i == 2 ? 3 : 1);
    ck_assert_str_eq(COMPLAINTS("--suppressions", in("wrong"), in("a.table")), wanted);
    ck_assert_int_eq(status, 2);
    snprintf(wanted, sizeof wanted, "pintensor: %s: Is a directory\n", folder);
    ck_assert_str_eq(COMPLAINTS("--suppressions", folder, in("a.table")), wanted);
    ck_assert_int_eq(status, 2);
    folder_end();
}
END_TEST

START_TEST(printed_to_be_suppressed)
{
    begin();
    fill();
    struct pt_site *s = table_site("train.py", 8, "collect"); /* another line of the same function */
    s->held = s->held_bytes = 1;
    s = table_site("job.py", 1, "<module>");
    s->held = s->held_bytes = 1;
    s = table_site("other.py", 1, "");
    s->held = s->held_bytes = 1;
    s = table_site("", 0, "");
    s->frames_count = 0, s->object = table_string("alone.so");
    s->held = s->held_bytes = 1;
    table_write(in("a.table"));
    const char *text = REPORT("--print-suppressions", in("a.table"));
    ck_assert_str_eq(text, "# RECLAIMED 100 B in 1 block: train.py:7  collect\nleak:^collect$\n"
                           "# GROWING 2.0 KiB in 1 block: train.py:9  grow\nleak:^grow$\n"
                           "# RECLAIMED 20 B in 1 block: job.so  pin+0x10\nleak:^pin$\n");
    text = REPORT("--print-suppressions", "--fail-on=held", in("a.table"));
    HAS(text, "# HELD 2.9 KiB in 2 blocks: train.py:7  collect\nleak:^collect$\n");
    HAS(text, "# HELD 1 B in 1 block: train.py:8  collect\n#"); /* which that line has named */
    HAS(text, "leak:^job.py$\n");
    HAS(text, "leak:^other.py$\n");
    HAS(text, "# HELD 1 B in 1 block: alone.so  \nleak:^alone.so$\n");
    LACKS(text, "(no stack was recorded)"); /* which has no name */
    LACKS(text, "GROWING");
    folder_end();
}
END_TEST

START_TEST(folded)
{
    begin();
    fill();
    table_write(in("a.table"));
    const char *text = REPORT("--folded=held", in("a.table"));
    HAS(text, "collect (train.py:7) 3100\n");
    text = REPORT("--folded", in("a.table"));
    HAS(text, "native+0x2a (lib.py) 500\n");
    ck_assert_str_eq(COMPLAINTS("--folded=all", in("a.table")), "pintensor: --folded=all is not one of peak,held\n");
    folder_end();
}
END_TEST

START_TEST(options_that_go_together)
{
    begin();
    fill();
    table_write(in("a.table"));
    HAS(REPORT("--json", "--json", in("a.table")), "{\"format\":\"pintensor report\"");
    HAS(REPORT("--folded=peak", "--folded", in("a.table")), "native+0x2a (lib.py) 500\n");
    ck_assert_str_eq(COMPLAINTS("--json", "--html", in("a.table")),
                     "pintensor: --json and --html are two ways to tell: ask for one\n");
    ck_assert_int_eq(status, 2);
    HAS(REPORT("--help", "--diff"), "usage: pintensor ");
    ck_assert_int_eq(status, 0);
    HAS(REPORT("-h"), "usage: pintensor ");
    char words[300] = "--fail-on=held";
    while (strlen(words) < 270) {
        strcat(words, ",held");
    }
    HAS(COMPLAINTS(words, in("a.table")), "pintensor: --fail-on=held,held");
    ck_assert_int_eq(status, 2);
    folder_end();
}
END_TEST

START_TEST(two_processes)
{
    begin();
    fill();
    table_write(in("a.table"));
    whole.table.pid = 4000002;
    whole.table.rank = -1;
    table_write(in("b.table"));
    const char *text = REPORT("--json", folder);
    HAS(text, "\"pid\":4000001,\"rank\":3,");
    HAS(text, "\"pid\":4000002,\"rank\":null,");
    HAS(text, "\"held\":{\"blocks\":4,\"bytes\":6000,\"locked\":16384}");
    HAS(text, "\"others\":{\"pinned\":9,");
    HAS(text, "{\"process\":1,\"kind\":\"foreign\",");
    text = REPORT("--html", folder);
    HAS(text, "<html");
    HAS(text, "\"pid\":4000002,\"rank\":null,");
    text = REPORT(folder);
    ck_assert_ptr_ne(strstr(text, "MISUSED"), strstr(text, "4000002"));
    folder_end();
}
END_TEST

/* Two rows of which nothing is known are one site. */
START_TEST(rows_that_look_alike)
{
    begin();
    for (unsigned i = 0; i < 2; i++) {
        struct pt_site *s = table_site("a.py", 1, "f");
        s->held = 1 + i, s->held_bytes = 10;
        s->first_ns = 500000000; /* before the program was born: a clock that went back */
        s->smallest = 100, s->largest = 10;
        s->allocated = 4;
    }
    table_write(in("a.table"));
    const char *text = REPORT("--json", in("a.table"));
    HAS(text, "\"smallest\":10,\"largest\":10,\"allocated\":8,");
    HAS(text, "\"first_seconds\":0.000,");
    HAS(text, ",\"held\":{\"blocks\":3,\"bytes\":20,\"locked\":0}");
    folder_end();
}
END_TEST

/* ---- two runs ---- */

START_TEST(differences)
{
    begin();
    fill();
    table_write(in("a.table"));
    struct pt_site *s = &whole.site[1];
    s->held_bytes = 4000;
    s->reclaimed_bytes = 300;
    whole.site[2].held_bytes = 1000;    /* the growing one shrank */
    whole.site[3].peak_bytes = 600;     /* native */
    whole.site[4].held_bytes = 20;      /* of which nothing is known */
    whole.site[5].reclaimed_bytes = 30; /* a symbol alone */
    whole.table.misuse[0].count = 9;
    table_write(in("b.table"));
    const char *text = REPORT("--diff", "--fail-on=misused", in("a.table"), in("b.table"));
    ck_assert_int_eq(status, 3);
    HAS(text,
        "(1 process): 5.0 KiB -> 5.2 KiB kept, 5.5 KiB -> 5.5 KiB at the peaks\n  GREW       3.0 KiB -> 4.2 KiB kept");
    HAS(text, "  SHRANK     2.0 KiB -> 1.0 KiB kept");
    HAS(text, "             lib.py  native+0x2a\n");
    HAS(text, "             (no stack was recorded)\n");
    HAS(text, "             job.so  pin+0x10\n");
    ck_assert_int_eq((REPORT("--diff", "--fail-on=reclaimed", in("a.table"), in("b.table")), status), 3);
    ck_assert_int_eq((REPORT("--diff", "--fail-on=growing", in("a.table"), in("b.table")), status), 0);
    ck_assert_int_eq((REPORT("--diff", "--fail-on=growing", in("b.table"), in("a.table")), status), 3);
    ck_assert_int_eq((REPORT("--diff", "--fail-on=misused", in("b.table"), in("a.table")), status), 0);
    folder_end();
}
END_TEST

/* The largest first, by what is kept, then by the peak, then in an order that stays. */
START_TEST(many_differences)
{
    begin();
    table_write(in("a.table"));
    for (unsigned i = 0; i < 103; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%u", i);
        struct pt_site *s = table_site("a.py", i + 1, name);
        s->held = s->held_bytes = i < 3 ? 900 : 0;
        s->peak_blocks = 1, s->peak_bytes = i == 50 ? 5000 : 10;
    }
    table_write(in("b.table"));
    const char *text = REPORT("--diff", in("a.table"), in("b.table"));
    HAS(text, "             and 3 more sites\n");
    const char *first = strstr(text, "  NEW        0 B -> 900 B kept"), *then = strstr(text, "a.py:51  f50");
    ck_assert(first != NULL && then != NULL && first < then);
    const char *line = strstr(then, "\n  NEW        0 B -> 0 B kept, 0 B -> 10 B at the peak  (");
    ck_assert_ptr_nonnull(line);
    char before[17] = "";
    unsigned lines = 0;
    for (; (line = strstr(line, "10 B at the peak  (")) != NULL; lines++) {
        line = strchr(line, '(') + 1;
        ck_assert_int_lt(strncmp(before, line, 16), 0);
        memcpy(before, line, 16);
    }
    ck_assert_uint_eq(lines, 96);
    folder_end();
}
END_TEST

/* ---- what cannot be read ---- */

START_TEST(what_is_no_table)
{
    char wanted[512];
    begin();
    table_write(in("a.table"));
    const char *path = in("a.table");
    whole.table.version++;
    table_write(path);
    snprintf(wanted, sizeof wanted, "pintensor: %s: a table of another version of pintensor: read it with that one\n",
             path);
    ck_assert_str_eq(COMPLAINTS(path), wanted);
    ck_assert_int_eq(status, 1);
    whole.table.version--;
    whole.table.sites = 0;
    table_write(path);
    snprintf(wanted, sizeof wanted, "pintensor: %s: a damaged table\n", path);
    ck_assert_str_eq(COMPLAINTS(path), wanted);
    text_file(path, "words\n");
    snprintf(wanted, sizeof wanted, "pintensor: %s: no table of pintensor's; PINTENSOR_DIR makes such files\n", path);
    ck_assert_str_eq(COMPLAINTS(path), wanted);
    snprintf(wanted, sizeof wanted, "pintensor: /dev/null: no table of pintensor's; PINTENSOR_DIR makes such files\n");
    ck_assert_str_eq(COMPLAINTS("/dev/null"), wanted);
    REQUIRE(truncate(path, (off_t)5 << 30) == 0); /* more than any table has */
    snprintf(wanted, sizeof wanted, "pintensor: %s: no table of pintensor's; PINTENSOR_DIR makes such files\n", path);
    ck_assert_str_eq(COMPLAINTS(path), wanted);
    REQUIRE(unlink(path) == 0);
    snprintf(wanted, sizeof wanted, "pintensor: %s: no tables here; PINTENSOR_DIR=%s makes them\n", folder, folder);
    ck_assert_str_eq(COMPLAINTS(folder), wanted);
    ck_assert_int_eq(status, 1);
    static const char *const pids[] = {"0", "4294967297", "12x"};
    for (unsigned i = 0; i < 3; i++) { /* no number of a process */
        snprintf(wanted, sizeof wanted, "pintensor: %s: No such file or directory\n", pids[i]);
        ck_assert_str_eq(COMPLAINTS(pids[i]), wanted);
    }
    folder_end();
}
END_TEST

/* Of a process on another machine nobody knows whether it runs. */
START_TEST(how_a_process_is)
{
    begin();
    struct pt_site *s = table_site("a.py", 1, "f");
    s->live = 2, s->live_bytes = 300, s->live_locked = 4096, s->last_ns = 5000000000;
    whole.record[1] = (struct pt_record){.state = PT_LIVE, .site = 1, .asked = 300, .locked = 4096};
    whole.table.records = 2;
    whole.table.exit_ns = 0;
    table_write(in("a.table"));
    HAS(REPORT("--json", in("a.table")), "\"state\":\"unknown\",\"complete\":true,\"seconds\":4.000");
    HAS(REPORT(in("a.table")), "1 site, alive when it was killed");
    char host[65];
    REQUIRE(gethostname(host, sizeof host) == 0);
    whole.table.host = table_string(strtok(host, "."));
    table_write(in("a.table"));
    HAS(REPORT("--json", in("a.table")), "\"state\":\"killed\"");
    folder_end();
}
END_TEST

START_TEST(a_directory_that_cannot_be_read)
{
    begin();
    table_write(in("a.table"));
    char wanted[512];
    snprintf(wanted, sizeof wanted, "pintensor: %s: Permission denied\n", folder);
    pid_t child = fork();
    if (child == 0) {
        refuse(SYS_getdents64, EACCES);
        ck_assert_str_eq(COMPLAINTS(folder), wanted);
        exit(status == 1 ? 0 : 1);
    }
    int ended;
    REQUIRE(waitpid(child, &ended, 0) == child);
    ck_assert_int_eq(ended, 0);
    folder_end();
}
END_TEST

START_TEST(nobody_takes_it)
{
    begin();
    table_write(in("a.table"));
    int full = openat(AT_FDCWD, "/dev/full", O_WRONLY);
    listen_to_output(STDERR_FILENO);
    pid_t child = fork();
    if (child == 0) {
        dup2(full, STDOUT_FILENO);
        exit(pt_report_verb(3, (char *[]){(char *)"report", (char *)"--json", (char *)in("a.table"), NULL}));
    }
    int ended;
    waitpid(child, &ended, 0);
    ck_assert_str_eq(said(), "pintensor: stdout: No space left on device\n");
    ck_assert_int_eq(WEXITSTATUS(ended), 1);
    folder_end();
}
END_TEST

/* ---- texts ---- */

static const char *escaped(void (*escape)(FILE *out, const char *s), const char *s)
{
    static char text[256];
    FILE *f = fmemopen(text, sizeof text, "w");
    escape(f, s);
    fclose(f);
    return text;
}

START_TEST(names_may_hold_anything)
{
    static const struct {
        const char *name, *json, *plain;
    } all[] = {
        {"a\"\\b", "\"a\\\"\\\\b\"", "a\"\\b"},
        {"<&>", "\"\\u003c\\u0026\\u003e\"", "<&>"},
        {"a;\t\x7f", "\"a;\\u0009\\u007f\"", "a:??"},
        {"\xc2\x85\xc2\xa0", "\"\\u0085\xc2\xa0\"", "?\xc2\xa0"},
        {"\xdf\xbf\xe0\xa0\x80", "\"\xdf\xbf\xe0\xa0\x80\"", "\xdf\xbf\xe0\xa0\x80"},
        {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\"",
         "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", "\xf0\x9f\x98\x80"},
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"", "\xf4\x8f\xbf\xbf"},
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", NULL}, /* past the last one */
        {"\xf0\x8f\xbf\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", NULL},
        {"\xe0\x9f\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", NULL},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"", NULL},
        {"\xee\x80\x80", "\"\xee\x80\x80\"", NULL},
        {"\xf5\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"", NULL},
        {"\xc1\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"", NULL},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"", NULL}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        ck_assert_str_eq(escaped(pt_escape_json, all[i].name), all[i].json);
        if (all[i].plain != NULL) {
            ck_assert_str_eq(escaped(pt_escape_plain, all[i].name), all[i].plain);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("report");
    tcase_add_test(tests, all_of_it_as_json);
    tcase_add_test(tests, in_words);
    tcase_add_test(tests, what_others_pinned);
    tcase_add_test(tests, suppressed);
    tcase_add_loop_test(tests, suppressions_that_are_none, 0, 3);
    tcase_add_test(tests, printed_to_be_suppressed);
    tcase_add_test(tests, folded);
    tcase_add_test(tests, options_that_go_together);
    tcase_add_test(tests, two_processes);
    tcase_add_test(tests, rows_that_look_alike);
    tcase_add_test(tests, differences);
    tcase_add_test(tests, many_differences);
    tcase_add_test(tests, what_is_no_table);
    tcase_add_test(tests, how_a_process_is);
    tcase_add_test(tests, a_directory_that_cannot_be_read);
    tcase_add_test(tests, nobody_takes_it);
    tcase_add_test(tests, names_may_hold_anything);
    return suite_run("report", tests);
}
