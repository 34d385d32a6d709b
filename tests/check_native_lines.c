/* File and line of native frames, in tables that are written word by word: of this very program, and of what is none.
 */
#include "cli/native_lines.h"
#include "ledger/table_load.h"
#include "table_of.h"
#include "trace/symbol.h"

#include <limits.h>

static const void *pc;

static __attribute__((noinline)) void here(void)
{
    pc = __builtin_return_address(0);
    __asm__ volatile("");
}

#define BUILT_IN static inline __attribute__((always_inline))

BUILT_IN void innermost(void)
{
    here();
    __asm__ volatile("");
}

static __attribute__((noinline)) void outer(void)
{
    innermost(); /* line */
    __asm__ volatile("");
}

enum { OUTER_LINE = __LINE__ - 4 };

BUILT_IN void middle(void)
{
    innermost(); /* line */
    __asm__ volatile("nop");
}

static __attribute__((noinline)) void outermost(void)
{
    __asm__ volatile("nop");
    middle(); /* line */
    __asm__ volatile("nop");
}

enum { OUTERMOST_LINE = __LINE__ - 4, MIDDLE_LINE = OUTERMOST_LINE - 7 };

/* More of them than a site has frames. */
#define LEVEL(name, next)                                                                                              \
    BUILT_IN void name(void)                                                                                           \
    {                                                                                                                  \
        next();                                                                                                        \
        __asm__ volatile("nop");                                                                                       \
    }
LEVEL(l1, here)
LEVEL(l2, l1)
LEVEL(l3, l2) LEVEL(l4, l3) LEVEL(l5, l4) LEVEL(l6, l5) LEVEL(l7, l6) LEVEL(l8, l7) LEVEL(l9, l8) LEVEL(l10, l9)
    LEVEL(l11, l10) LEVEL(l12, l11) LEVEL(l13, l12) LEVEL(l14, l13) LEVEL(l15, l14) LEVEL(l16, l15) LEVEL(l17, l16)
        LEVEL(l18, l17) LEVEL(l19, l18) LEVEL(l20, l19) LEVEL(l21, l20) LEVEL(l22, l21)

            static __attribute__((noinline)) void deep(void)
{
    l22();
    __asm__ volatile("");
}

/* As C++ calls them. */
#define SYMBOL(function, symbol)                                                                                       \
    void function(void) __asm__(symbol);                                                                               \
    __attribute__((noinline)) void function(void)                                                                      \
    {                                                                                                                  \
        here();                                                                                                        \
        __asm__ volatile("");                                                                                          \
    }
SYMBOL(in_nameless, "_ZN4data12_GLOBAL__N_16hiddenEi")
SYMBOL(in_nameless_alone, "_ZN12_GLOBAL__N_16hiddenEv")
SYMBOL(call_operator, "_ZN4data4FillclEi")
SYMBOL(member, "_ZN4data6Loader4fillEb")
SYMBOL(no_cpp, "_Zero")

/* What the library would have noted of that call. */
static struct pt_native noted(void (*function)(void))
{
    char object[PT_SYMBOL_MOST * 2];
    struct pt_native n = {0};
    function();
    REQUIRE(pt_symbol_place(pc, object, sizeof object, &n.at));
    n.object = table_string(object);
    return n;
}

static void begin(void)
{
    pt_symbol_init();
    table_begin(1, 0);
}

static const struct pt_site *named(uint32_t row)
{
    ck_assert_int_eq(pt_table_load_bytes(&whole, sizeof whole), 0);
    pt_native_lines_add();
    return pt_table_site(row);
}

static const char *function_of(const struct pt_site *s, unsigned frame)
{
    return pt_table_string(s->frames[frame].function);
}

static bool is_here(const struct pt_site *s, unsigned frame)
{
    const char *file = strrchr(pt_table_string(s->frames[frame].file), '/');
    return file != NULL ? strcmp(file, "/check_native_lines.c") == 0
                        : strcmp(pt_table_string(s->frames[frame].file), "check_native_lines.c") == 0;
}

/* A site of no frames but a native caller. */
static uint32_t site_called_by(void (*function)(void))
{
    struct pt_site *s = table_site("", 0, "");
    s->frames_count = 0;
    whole.natives[table_row(s)].caller = noted(function);
    return table_row(s);
}

START_TEST(the_caller_alone)
{
    begin();
    uint32_t row = site_called_by(outer);
    const struct pt_site *s = named(row);
    ck_assert_uint_eq(s->frames_count, 2);
    ck_assert_str_eq(function_of(s, 0), "innermost");
    ck_assert_str_eq(function_of(s, 1), "outer");
    ck_assert(is_here(s, 0) && is_here(s, 1));
    ck_assert_uint_eq(s->frames[1].line, OUTER_LINE);
    ck_assert_uint_eq(s->library, 0);
    const struct pt_natives *n = pt_table_natives(row);
    ck_assert(n->frame[0].at == PT_NATIVE_MORE && n->frame[1].object == PT_NATIVE_MORE && n->frame[2].object == 0);
}
END_TEST

/* Each with the line where the next one is called. */
START_TEST(built_in_twice)
{
    begin();
    const struct pt_site *s = named(site_called_by(outermost));
    ck_assert_uint_eq(s->frames_count, 3);
    static const char *const functions[] = {"innermost", "middle", "outermost"};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_str_eq(function_of(s, i), functions[i]);
    }
    ck_assert_uint_eq(s->frames[1].line, MIDDLE_LINE);
    ck_assert_uint_eq(s->frames[2].line, OUTERMOST_LINE);
}
END_TEST

/* Below lines of Python, which stay. Each native frame keeps its words, the first of those that it became. */
START_TEST(frames_of_both_kinds)
{
    begin();
    struct pt_site *s = table_site("train.py", 7, "step");
    s->frames_count = 4;
    s->library = 1 << 1 | 1 << 2;
    s->frames[1] = (struct pt_frame){table_string("job.so"), table_string("outer+0x5"), 0};
    s->frames[2] = (struct pt_frame){table_string("gone.so"), table_string("f+0x5"), 0};
    s->frames[3] = (struct pt_frame){table_string("train.py"), table_string("main"), 9};
    struct pt_natives *n = &whole.natives[table_row(s)];
    n->frame[1] = noted(outer);
    n->frame[2] = (struct pt_native){5, table_string("00 /nowhere/gone.so")};
    uint32_t object = s->frames[1].file, function = s->frames[1].function;
    const struct pt_site *now = named(table_row(s));
    ck_assert_uint_eq(now->frames_count, 5);
    static const char *const functions[] = {"step", "innermost", "outer", "f+0x5", "main"};
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_str_eq(function_of(now, i), functions[i]);
    }
    ck_assert_uint_eq(now->library, 1 << 3); /* what is named is the user's own by its path */
    n = pt_table_natives(1);
    ck_assert(n->frame[1].at == function && n->frame[1].object == object);
    ck_assert(n->frame[2].at == PT_NATIVE_MORE && n->frame[3].object == 0);
}
END_TEST

START_TEST(no_more_frames_than_there_is_room_for)
{
    begin();
    uint32_t alone = site_called_by(deep);
    struct pt_site *s = table_site("train.py", 1, "f");
    s->frames_count = PT_SITE_FRAMES;
    for (unsigned i = 1; i < PT_SITE_FRAMES; i++) {
        s->frames[i] = s->frames[0];
    }
    whole.natives[table_row(s)].frame[PT_SITE_FRAMES - 1] = noted(outer);
    whole.natives[table_row(s)].frame[0] = noted(outer);
    const struct pt_site *now = named(alone);
    ck_assert_uint_eq(now->frames_count, PT_SITE_FRAMES);
    ck_assert_str_eq(function_of(now, 0), "l1");
    ck_assert_str_eq(function_of(now, PT_SITE_FRAMES - 2), "l19");
    ck_assert_str_eq(function_of(now, PT_SITE_FRAMES - 1), "deep"); /* the one that really is one */
    now = pt_table_site(table_row(s));
    ck_assert_uint_eq(now->frames_count, PT_SITE_FRAMES);
    ck_assert_str_eq(function_of(now, 1), "outer");
    ck_assert_str_eq(function_of(now, PT_SITE_FRAMES - 1), "f");
}
END_TEST

/* If this machine has what tells names of C++. */
START_TEST(names_of_cpp)
{
    static const struct {
        void (*function)(void);
        const char *name;
    } all[] = {{member, "data::Loader::fill"},
               {in_nameless, "data::(anonymous namespace)::hidden"},
               {in_nameless_alone, "(anonymous namespace)::hidden"},
               {call_operator, "data::Fill::operator()"},
               {no_cpp, "_Zero"}};
    begin();
    for (unsigned i = 0; i < 5; i++) {
        (void)site_called_by(all[i].function);
    }
    (void)named(1);
    if (strncmp(function_of(pt_table_site(1), 0), "_ZN", 3) == 0) {
        return;
    }
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_str_eq(function_of(pt_table_site(i + 1), 0), all[i].name);
    }
}
END_TEST

/* As paths begin where the command was started. */
START_TEST(files_are_named_from_here)
{
    char folder[PATH_MAX];
    begin();
    uint32_t row = site_called_by(outer);
    const char *full = "";
    for (int way = 0; way < 4; way++) {
        pid_t child = fork();
        if (child == 0) {
            if (way == 3) {
                refuse(SYS_getcwd, ENOENT);
            }
            const struct pt_site *s = named(row);
            full = pt_table_string(s->frames[0].file);
            /* Whole; then below the sources' folder; and whole from a folder whose name is the beginning of that one's.
             */
            exit(way == 0 || way >= 2 ? (full[0] == '/' ? 0 : 1) : strcmp(full, "check_native_lines.c") == 0 ? 0 : 2);
        }
        int status;
        REQUIRE(waitpid(child, &status, 0) == child);
        ck_assert_msg(status == 0, "way %d", way);
        if (way == 0) {
            snprintf(folder, sizeof folder, "%s", getenv("top_srcdir") != NULL ? getenv("top_srcdir") : "");
            if (folder[0] != '/' || chdir(strcat(folder, "/tests")) != 0) {
                return; /* nobody said where they are */
            }
        } else if (way == 1) {
            REQUIRE(chdir("/") == 0);
        }
    }
}
END_TEST

/* What a name says is no file of that build, or no name at all. */
START_TEST(objects_that_are_none)
{
    char object[PT_SYMBOL_MOST * 2], other[PT_SYMBOL_MOST * 2 + 2], script[] = "/tmp/pintensor-check-XXXXXX";
    uint32_t at;
    begin();
    outer();
    REQUIRE(pt_symbol_place(pc, object, sizeof object, &at));
    int fd = mkstemp(script);
    REQUIRE(write(fd, "#!/bin/sh\n", 10) == 10);
    const char *path = strchr(object, ' ');
    static char names[80][PT_SYMBOL_MOST * 3];
    snprintf(names[0], sizeof names[0], "%s", path + 1);         /* without a build ID, and a space */
    snprintf(names[1], sizeof names[1], "%.4s%s", object, path); /* too short */
    snprintf(other, sizeof other, "%s", object);
    other[3] = other[3] == '0' ? '1' : '0';
    snprintf(names[2], sizeof names[2], "%s", other); /* another one */
    snprintf(names[3], sizeof names[3], "00 /tmp");
    snprintf(names[4], sizeof names[4], "00 /nowhere/x.so");
    snprintf(names[5], sizeof names[5], "00 %s", script);
    for (unsigned i = 6; i < 80; i++) { /* more than are kept open */
        snprintf(names[i], sizeof names[i], "%02x /nowhere/x.so", i);
    }
    for (unsigned i = 0; i < 80; i++) {
        struct pt_site *s = table_site("x.so", 0, "f+0x5");
        whole.natives[table_row(s)].frame[0] = (struct pt_native){at, table_string(names[i])};
    }
    uint32_t right = site_called_by(outer), again = site_called_by(outer);
    (void)named(1);
    for (uint32_t row = 1; row <= 80; row++) {
        ck_assert_uint_eq(pt_table_site(row)->frames_count, 1);
        ck_assert_str_eq(function_of(pt_table_site(row), 0), "f+0x5");
        ck_assert_uint_eq(pt_table_site(row)->frames[0].line, 0);
    }
    ck_assert_str_eq(function_of(pt_table_site(right), 1), "outer");
    ck_assert_str_eq(function_of(pt_table_site(again), 1), "outer");
    unlink(script);
}
END_TEST

START_TEST(code_that_nobody_knows)
{
    begin();
    uint32_t row = site_called_by(outer);
    whole.natives[row].caller.at = 0x7ffffff0; /* past its end */
    const struct pt_site *s = named(row);
    ck_assert_uint_eq(s->frames_count, 0);
}
END_TEST

/* A library is not the user's own, by where it lies. */
START_TEST(libraries)
{
    static const char *const folders[] = {"site-packages", "dist-packages", "own"};
    char folder[] = "/tmp/pintensor-check-XXXXXX", command[PATH_MAX], object[PATH_MAX];
    uint32_t at;
    begin();
    outer();
    REQUIRE(mkdtemp(folder) != NULL && pt_symbol_place(pc, object, sizeof object, &at));
    uint32_t row[3];
    for (unsigned i = 0; i < 3; i++) {
        char name[PATH_MAX];
        snprintf(command, sizeof command, "mkdir %s/%s && cp /proc/%d/exe %s/%s/x", folder, folders[i], getpid(),
                 folder, folders[i]);
        REQUIRE(system(command) == 0);
        snprintf(name, sizeof name, "%.*s %s/%s/x", (int)strcspn(object, " "), object, folder, folders[i]);
        struct pt_site *s = table_site("x", 0, "outer+0x5");
        whole.natives[table_row(s)].frame[0] = (struct pt_native){at, table_string(name)};
        row[i] = table_row(s);
    }
    (void)named(1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(pt_table_site(row[i])->frames_count, 2);
        ck_assert_uint_eq(pt_table_site(row[i])->library, i < 2 ? 3 : 0);
    }
    snprintf(command, sizeof command, "rm -r %s", folder);
    REQUIRE(system(command) == 0);
}
END_TEST

/* No line is better than one whose words do not fit. */
START_TEST(no_room_for_words)
{
    begin();
    uint32_t row = site_called_by(outer);
    ck_assert_int_eq(pt_table_load_bytes(&whole, sizeof whole), 0);
    whole.table.records_at = whole.table.strings_at + (whole.table.strings + 10) / 8 * 8;
    pt_native_lines_add();
    ck_assert_uint_eq(pt_table_site(row)->frames_count, 0);
}
END_TEST

int main(void)
{
    static char object[PT_SYMBOL_MOST * 2];
    uint32_t at;
    outer();
    pt_symbol_init();
    if (!pt_symbol_place(pc, object, sizeof object, &at)) {
        printf("SKIP: this program has no build ID\n");
        return 77;
    }
    pid_t child = fork(); /* what is found out once is found out anew by each test */
    if (child == 0) {
        _exit(pt_native_lines_can() ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    if (status != 0) {
        printf("SKIP: built without elfutils/libdwfl.h, or libdw.so.1 is not here\n");
        return 77;
    }
    TCase *tests = tcase_create("native_lines");
    tcase_add_test(tests, the_caller_alone);
    tcase_add_test(tests, built_in_twice);
    tcase_add_test(tests, frames_of_both_kinds);
    tcase_add_test(tests, no_more_frames_than_there_is_room_for);
    tcase_add_test(tests, names_of_cpp);
    tcase_add_test(tests, files_are_named_from_here);
    tcase_add_test(tests, objects_that_are_none);
    tcase_add_test(tests, code_that_nobody_knows);
    tcase_add_test(tests, libraries);
    tcase_add_test(tests, no_room_for_words);
    return suite_run("native_lines", tests);
}
