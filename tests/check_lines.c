/* Which line asked, where Python's frames cannot be read from its memory: by a stand-in for Python. And what native
 * places are called. */
#include "blocks.h"
#include "fake_python.h"
#include "ledger/holders.h"
#include "ledger/place.h"
#include "trace/frames.h"
#include "trace/gil_helper.h"
#include "trace/site.h"
#include "trace/symbol.h"

#include <pthread.h>

static struct python_object *code[4];
static int last[4];

/* A Python of no version that is known, with this thread in it. */
static void begin(void)
{
    python.version = "4.0";
    python_hide("_Py_DecRefShared");
    for (unsigned i = 0; i < 4; i++) {
        code[i] = python_make_code(i == 0 ? "/usr/lib/python3/dist-packages/torch/x.py" : "train.py",
                                   i == 3 ? "<module>" : "step");
        last[i] = 2 * (int)i;
    }
    python_stack(3, code + 1, last + 1);
    python.runs = python.state;
    manager = pintensor_manager_create();
    release(alloc(64));
}

static const void *place(unsigned i)
{
    return (const char *)&strtol + 1 + i;
}

static const char *told(uint32_t site)
{
    static char text[300];
    struct pt_text t;
    pt_text_init(&t, text, sizeof text, -1);
    pt_place_of(site, &t);
    return text;
}

/* Looked at in full once for so many bytes of a line, which then stand for its callers, whoever they are. */
START_TEST(small_blocks_go_by_their_line)
{
    begin();
    uint32_t first = pt_site_here(place(0), 1000);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_OFF);
    ck_assert_str_eq(told(first), "train.py:101  step");
    unsigned looks = python.looks;
    for (size_t bytes = 1000; bytes <= PT_SITE_FULL; bytes += 1000) {
        ck_assert_uint_eq(pt_site_here(place(0), 1000), first);
    }
    ck_assert_uint_eq(python.looks, looks);
    ck_assert_uint_eq(pt_site_here(place(0), 1000), first);
    ck_assert_uint_eq(python.looks, looks + 1); /* that was enough for a while */
    last[1] = 40;
    python_stack(3, code + 1, last + 1);
    uint32_t other = pt_site_here(place(0), 1000);
    ck_assert_uint_ne(other, first); /* another line */
    ck_assert_str_eq(told(other), "train.py:120  step");
    ck_assert_uint_ne(pt_site_here(place(1), 1000), other);         /* from another place in our callers' code */
    ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), other); /* large ones are always looked at in full */
    ck_assert_uint_eq(python.looks, looks + 4);
    python_stack(3, code, last); /* other code */
    ck_assert_uint_ne(pt_site_here(place(0), 1000), other);
    python.depth = 0; /* no frame runs: by the native place alone */
    uint32_t native = pt_site_here(place(0), 1000);
    ck_assert(strstr(told(native), "+0x") != NULL);
    ck_assert_uint_eq(pt_site_here(place(0), 1000), native);
}
END_TEST

START_TEST(while_an_error_is_on_its_way_python_is_not_asked)
{
    begin();
    uint32_t line = pt_site_here(place(0), 1000);
    python.error = true;
    unsigned calls = python.calls, looks = python.looks;
    uint32_t native = pt_site_here(place(0), PT_SITE_FULL);
    ck_assert_uint_ne(native, line);
    ck_assert(strstr(told(native), "+0x") != NULL);
    ck_assert_uint_eq(pt_site_here(place(2), 1000), pt_site_here(place(2), 1000));
    ck_assert(python.error && python.calls == calls && python.looks == looks);
    python.error = false;
    ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), line);
}
END_TEST

/* Other code may get its address: nothing is remembered by that. */
START_TEST(code_that_cannot_be_watched_is_looked_at_each_time)
{
    begin();
    (void)pt_site_here(place(0), 1000);
    struct python_object *fresh = python_make_code("fresh.py", "f");
    python_stack(1, &fresh, last);
    python.unwatchable = true;
    for (unsigned i = 0; i < 3; i++) {
        unsigned looks = python.looks;
        ck_assert_str_eq(told(pt_site_here(place(0), 1000)), "fresh.py:100  f");
        ck_assert_uint_eq(python.looks, looks + 1);
    }
}
END_TEST

START_TEST(what_gives_back_is_content_with_less)
{
    begin();
    (void)pt_site_here(place(0), 1000);
    ck_assert_str_eq(told(pt_site_freeing(place(0))), "train.py:101  step");
    python.runs = NULL; /* without the GIL it asks nobody */
    long taken = python.taken;
    ck_assert(strstr(told(pt_site_freeing(place(0))), "+0x") != NULL);
    ck_assert_int_eq(python.taken, taken);
}
END_TEST

START_TEST(sites_may_be_off)
{
    setenv("PINTENSOR_STACK", "off", 1);
    begin();
    ck_assert_uint_eq(pt_site_here(place(0), 1000), 0);
    ck_assert_uint_eq(pt_site_freeing(place(0)), 0);
}
END_TEST

START_TEST(whole_stacks)
{
    setenv("PINTENSOR_STACK", "full", 1);
    begin();
    (void)pt_site_here(place(0), 1000);
    uint32_t site = pt_site_here(__builtin_return_address(0), PT_SITE_FULL);
    ck_assert_uint_gt(pt_table_site(site)->frames_count, 3); /* Python's three, and native ones */
    ck_assert_uint_eq(pt_table_site(site)->frames[3].line, 0);
    python.thread_state = NULL; /* a thread of no Python */
    site = pt_site_here(__builtin_return_address(0), 1000);
    ck_assert_uint_eq(pt_table_site(site)->frames[0].line, 0);
}
END_TEST

/* ---- without the GIL ---- */

/* Our clock is an hour ahead of that by which the kernel waits: what waits until a moment of ours waits for long. */
static _Atomic bool patient;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int error = (int)syscall(SYS_clock_gettime, clock, out);
    out->tv_sec += patient ? 3600 : 0;
    return error;
}

START_TEST(without_the_gil_somebody_else_looks)
{
    patient = true;
    begin();
    (void)pt_site_here(place(0), 1000);
    python.runs = NULL;
    long taken = python.taken;
    uint32_t site = pt_site_here(place(0), PT_SITE_FULL);
    ck_assert_int_eq(python.taken, taken + 1);
    ck_assert_str_eq(told(site), "train.py:101  step");
    /* Always the same answer: from some time on it is asked for now and then. */
    for (unsigned i = 0; i < 16; i++) {
        ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), site);
    }
    taken = python.taken;
    for (unsigned i = 0; i < 63; i++) {
        ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), site);
    }
    ck_assert_int_eq(python.taken, taken);
    last[1] = 60; /* which is not seen until then */
    python_stack(3, code + 1, last + 1);
    uint32_t other = pt_site_here(place(0), PT_SITE_FULL);
    ck_assert_int_eq(python.taken, taken + 1);
    ck_assert_str_eq(told(other), "train.py:130  step");
    ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), other); /* and now it is asked for each time */
    ck_assert_int_eq(python.taken, taken + 2);
    EVENTUALLY(python.released == python.taken);
    patient = false; /* Check has a clock too */
}
END_TEST

static pthread_mutex_t gil = PTHREAD_MUTEX_INITIALIZER;

static void wait_for_gil(void)
{
    pthread_mutex_lock(&gil);
    pthread_mutex_unlock(&gil);
}

START_TEST(nobody_waits_long_for_the_gil)
{
    begin();
    (void)pt_site_here(place(0), 1000);
    python.runs = NULL;
    python.gil_is_taken = wait_for_gil;
    pthread_mutex_lock(&gil);
    uint32_t native = pt_site_here(place(0), PT_SITE_FULL); /* does so in vain */
    ck_assert(strstr(told(native), "+0x") != NULL);
    long taken = python.taken;
    ck_assert_int_eq(taken, 1);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_uint_eq(pt_site_here(place(0), PT_SITE_FULL), native);
    }
    ck_assert_int_eq(python.taken, taken); /* the one that waits already will answer all */
    pthread_mutex_unlock(&gil);
    EVENTUALLY(python.released == taken);
    EVENTUALLY(strcmp(told(pt_site_here(place(0), PT_SITE_FULL)), "train.py:101  step") == 0);
}
END_TEST

/* ---- what things are called ---- */

#define NAMED(number, name)                                                                                            \
    __attribute__((visibility("default"))) void named_##number(void) __asm__(name);                                    \
    void named_##number(void)                                                                                          \
    {                                                                                                                  \
        __asm__ volatile("");                                                                                          \
    }
NAMED(0, "_ZN3foo3barEv")
NAMED(1, "_ZNK4data6LoaderC1Ei")
NAMED(2, "_ZN4dataD2Ev")
NAMED(3, "_ZN3fooIiE3barEv") /* with a template: as it is */
NAMED(4, "_ZN99foo")
NAMED(5, "_ZN123456foo")
NAMED(6, "_ZNSt3fooEv")
NAMED(7, "_ZN0E")
NAMED(8, "plain")

START_TEST(names_of_functions)
{
    static const struct {
        void (*function)(void);
        const char *name;
    } all[] = {{named_0, "foo::bar"},         {named_1, "data::Loader"}, {named_2, "data"},
               {named_3, "_ZN3fooIiE3barEv"}, {named_4, "_ZN99foo"},     {named_5, "_ZN123456foo"},
               {named_6, "_ZNSt3fooEv"},      {named_7, "_ZN0E"},        {named_8, "plain"}};
    pt_symbol_init();
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        char symbol[PT_SYMBOL_MOST], object[PT_SYMBOL_MOST], wanted[PT_SYMBOL_MOST];
        pt_symbol_native((const char *)all[i].function + 1, symbol, object, sizeof symbol);
        snprintf(wanted, sizeof wanted, "%s+0x1", all[i].name);
        ck_assert_str_eq(symbol, wanted);
        ck_assert_str_eq(object, "check_lines");
    }
    char symbol[PT_SYMBOL_MOST] = "x", object[PT_SYMBOL_MOST] = "x";
    pt_symbol_native(NULL, symbol, object, sizeof symbol);
    ck_assert(symbol[0] == '\0' && object[0] == '\0');
    pt_symbol_native(symbol, symbol, object, sizeof symbol); /* no code lies there */
    ck_assert(symbol[0] == '\0' && object[0] == '\0');
}
END_TEST

START_TEST(names_of_files)
{
    char here[4096], path[8192];
    REQUIRE(chdir("/tmp") == 0 && getcwd(here, sizeof here) != NULL);
    pt_symbol_init();
    snprintf(path, sizeof path, "%s/a/train.py", here);
    ck_assert_str_eq(pt_symbol_short_path(path), "a/train.py");
    snprintf(path, sizeof path, "%sother/train.py", here);
    ck_assert_str_eq(pt_symbol_short_path(path), path);
    ck_assert_str_eq(pt_symbol_short_path("/v/site-packages/torch/x.py"), "torch/x.py");
    ck_assert_str_eq(pt_symbol_short_path("/v/dist-packages/torch/x.py"), "torch/x.py");
    REQUIRE(chdir("/") == 0);
    pt_symbol_init();
    ck_assert_str_eq(pt_symbol_short_path("/train.py"), "/train.py");
    ck_assert(pt_symbol_is_library("/v/site-packages/torch/x.py") &&
              pt_symbol_is_library("/v/dist-packages/torch/x.py") && pt_symbol_is_library("/usr/lib/python3.11/x.py") &&
              pt_symbol_is_library("<frozen os>"));
    ck_assert(!pt_symbol_is_library("/home/x/train.py"));
}
END_TEST

START_TEST(places_in_files)
{
    char object[4096];
    uint32_t at = 0;
    pt_symbol_init();
    ck_assert(!pt_symbol_place(NULL, object, sizeof object, &at));
    ck_assert(!pt_symbol_place(object, object, sizeof object, &at));
    if (pt_symbol_place((const char *)named_0 + 1, object, sizeof object,
                        &at)) { /* else it was linked without a build ID */
        ck_assert_uint_ne(at, 0);
        ck_assert(strstr(object, " /") != NULL && strstr(object, "/check_lines") != NULL);
        ck_assert(!pt_symbol_place((const char *)named_0 + 1, object, 20, &at)); /* cut off it names another one */
    }
}
END_TEST

/* ---- who has most ---- */

START_TEST(who_has_most)
{
    char text[600];
    struct pt_text t;
    pt_text_init(&t, text, sizeof text, -1);
    pt_holders_add(&t);
    ck_assert_str_eq(text, ""); /* there is no table yet */
    begin();
    pintensor_block kept[3];
    for (unsigned i = 0; i < 3; i++) { /* by three stacks: of three frames, of the outermost alone, of another's code */
        python_stack(i == 0 ? 3 : i == 1 ? 1 : 2, i == 0 ? code + 1 : i == 1 ? code + 3 : code, last);
        kept[i] = alloc((3 - i) * MIB);
    }
    (void)stats();
    pt_holders_add(&t);
    const char *first =
        strstr(text, "Most of it: 3.0 MiB in 1 block from train.py:100  step, called at train.py:101  step; ");
    ck_assert_msg(first == text, "%s", text);
    ck_assert_msg(strstr(text, "; 2.0 MiB in 1 block from train.py:100  <module>; ") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "; 1.0 MiB in 1 block from train.py:101  step") != NULL, "%s", text);
    for (unsigned i = 0; i < 3; i++) {
        release(kept[i]);
    }
}
END_TEST

int main(void)
{
    need_lockable(16 * MIB);
    TCase *tests = tcase_create("lines");
    tcase_add_test(tests, small_blocks_go_by_their_line);
    tcase_add_test(tests, while_an_error_is_on_its_way_python_is_not_asked);
    tcase_add_test(tests, code_that_cannot_be_watched_is_looked_at_each_time);
    tcase_add_test(tests, what_gives_back_is_content_with_less);
    tcase_add_test(tests, sites_may_be_off);
    tcase_add_test(tests, whole_stacks);
    tcase_add_test(tests, without_the_gil_somebody_else_looks);
    tcase_add_test(tests, nobody_waits_long_for_the_gil);
    tcase_add_test(tests, names_of_functions);
    tcase_add_test(tests, names_of_files);
    tcase_add_test(tests, places_in_files);
    tcase_add_test(tests, who_has_most);
    return suite_run("lines", tests);
}
