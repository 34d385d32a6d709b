/* PINTENSOR_LIMIT: what may be written, what is refused and with which words, and the share of a node. */
#include "base/limit_text.h"
#include "blocks.h"
#include "fake.h"
#include "memory/limit.h"
#include "memory/node_share.h"
#include "memory/pages.h"
#include "memory/pin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void start(const char *limit, bool registers)
{
    setenv("PINTENSOR_LIMIT", limit, 1);
    if (registers) {
        fake_begin();
    }
    manager = pintensor_manager_create();
    ck_assert_uint_ne(manager, 0);
}

static int refused(size_t bytes)
{
    pintensor_block none;
    return pintensor_alloc(manager, bytes, &none);
}

static size_t locked(void)
{
    return stats().locked_bytes;
}

static void has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}

/* ---- what may be written ---- */

START_TEST(amounts)
{
    static const struct {
        const char *text;
        uint64_t amount;
        bool percent;
    } all[] = {
        {"0", 0, false},           {"4096", 4096, false},       {"7B", 7, false},        {"8K", 8 << 10, false},
        {"8k", 8 << 10, false},    {"3MiB", 3 << 20, false},    {"3MB", 3 << 20, false}, {"2g", 2ull << 30, false},
        {"1T", 1ull << 40, false}, {"hard:5M", 5 << 20, false}, {"50%", 50, true},       {"100%", 100, true}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct pt_limit_text t;
        ck_assert_msg(pt_limit_text_parse(all[i].text, &t) == 0, "%s", all[i].text);
        struct pt_limit_amount *a = &t.of[PT_LIMIT_PROCESS][PT_LIMIT_HARD];
        ck_assert_msg(a->given && a->amount == all[i].amount && a->percent == all[i].percent, "%s", all[i].text);
        ck_assert(!t.of[PT_LIMIT_NODE][PT_LIMIT_HARD].given && !t.of[PT_LIMIT_PROCESS][PT_LIMIT_SOFT].given);
    }
}
END_TEST

START_TEST(several_at_once)
{
    struct pt_limit_text t;
    ck_assert_int_eq(pt_limit_text_parse("node:soft:3K,soft:1K,node:hard:4K,2K", &t), 0);
    ck_assert_uint_eq(t.of[PT_LIMIT_PROCESS][PT_LIMIT_SOFT].amount, 1 << 10);
    ck_assert_uint_eq(t.of[PT_LIMIT_PROCESS][PT_LIMIT_HARD].amount, 2 << 10);
    ck_assert_uint_eq(t.of[PT_LIMIT_NODE][PT_LIMIT_SOFT].amount, 3 << 10);
    ck_assert_uint_eq(t.of[PT_LIMIT_NODE][PT_LIMIT_HARD].amount, 4 << 10);
    ck_assert_int_eq(pt_limit_text_parse("", &t), 0);
    ck_assert(!t.of[PT_LIMIT_PROCESS][PT_LIMIT_HARD].given);
}
END_TEST

static const char *const wrong[] = {"x",         "8X",
                                    "G",         "-1",
                                    "1.5G",      "101%",
                                    "8G,",       ",8G",
                                    "8G 8",      "8G,9G",
                                    "soft:",     "node:",
                                    "soft:x",    "hard:soft:1",
                                    "nod:8G",    "5%%",
                                    "8iB",       "8KK",
                                    "8G,soft",   "2000000000000000000000",
                                    "99999999T", "node:8G,node:9G"};
enum { WRONG = sizeof wrong / sizeof wrong[0] };

START_TEST(what_is_no_limit)
{
    struct pt_limit_text t;
    ck_assert_int_eq(pt_limit_text_parse(wrong[_i], &t), -EINVAL);
}
END_TEST

START_TEST(a_bad_value_costs_one_line_and_sets_no_limit)
{
    catch_stderr();
    start("8X", false);
    alloc(3 * MIB);
    has(suite_stderr(), "PINTENSOR_LIMIT=8X is not a limit such as 8G, 50%, soft:6G,8G or node:64G; there is no limit");
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    ck_assert_uint_eq(pt_limit_most(), SIZE_MAX);
}
END_TEST

START_TEST(percent_of_all_memory)
{
    uint64_t kib;
    ck_assert_int_eq(pt_text_proc_number("/proc/meminfo", "MemTotal", &kib), 0);
    start("50%", false);
    ck_assert_uint_le(pt_limit_most(), kib * KIB / 2); /* a cgroup may have less */
    ck_assert_uint_ge(pt_limit_most(), 64 * MIB);
}
END_TEST

/* ---- the hard limit ---- */

START_TEST(beyond_the_limit_it_is_refused_in_words)
{
    start("16M", _i == 1);
    pintensor_block a = alloc(6 * MIB), b = alloc(8 * MIB);
    ck_assert_int_eq(refused(4 * MIB), PINTENSOR_ELIMIT);
    has(pintensor_last_error(), "cannot lock 4.0 MiB more memory: this process may have 16.0 MiB and has 14.0 MiB "
                                "(PINTENSOR_LIMIT=16M). Most of it: 8.0 MiB in 1 block from ");
    has(pintensor_last_error(), "; 6.0 MiB in 1 block from "); /* the largest first */
    ck_assert(stats().live_blocks == 2 && locked() == 14 * MIB);
    alloc(2 * MIB); /* to the last page */
    ck_assert_int_eq(refused(4096 * 4), PINTENSOR_ELIMIT);
    release(a);
    release(b);
    ck_assert_uint_eq(alloc(14 * MIB).bytes, 14 * MIB);
    ck_assert_uint_le(locked(), 16 * MIB);
}
END_TEST

START_TEST(small_blocks_count_too)
{
    start("4M", _i == 1);
    unsigned made = 0;
    while (refused(1000) == 0) {
        ck_assert_uint_lt(made++, 5000);
    }
    ck_assert_uint_gt(made, 3500);
    has(pintensor_last_error(), "this process may have 4.0 MiB");
    ck_assert_uint_le(locked(), 4 * MIB);
}
END_TEST

START_TEST(what_waits_goes_first)
{
    start("16M", _i == 1);
    pintensor_block a = alloc(4 * MIB), b = alloc(4 * MIB), c = alloc(4 * MIB), stays = alloc(2 * MIB);
    release(a);
    release(b);
    release(c);
    alloc(6 * MIB);
    ck_assert_uint_le(locked(), 16 * MIB);
    release(stays);
    alloc(10 * MIB);
    ck_assert_uint_eq(locked(), 16 * MIB);
}
END_TEST

/* 16 MiB are locked. Of these `waiting` blocks wait, which cannot be joined. */
static void fill(unsigned waiting, size_t bytes, size_t between)
{
    pintensor_block b[16];
    for (unsigned i = 0; i < waiting; i++) {
        b[i] = alloc(bytes);
        alloc(between);
    }
    alloc(16 * MIB - locked());
    for (unsigned i = 0; i < waiting; i++) {
        release(b[i]);
    }
    ck_assert_uint_eq(locked(), 16 * MIB);
}

START_TEST(no_more_goes_than_is_in_the_way)
{
    start("16M", _i == 1);
    if (_i == 0) {
        fill(12, MIB, 256 * KIB);
        alloc(MIB + MIB / 2);
        ck_assert_uint_eq(locked(), 16 * MIB);
    } else {
        fill(4, 2 * MIB, 2 * MIB);
        alloc(3 * MIB);
        ck_assert_uint_ge(locked(), 15 * MIB);
    }
}
END_TEST

START_TEST(a_hopeless_request_costs_the_cache_nothing)
{
    start("16M", _i == 1);
    alloc(5 * MIB);
    release(alloc(5 * MIB));
    size_t before = locked();
    ck_assert_int_eq(refused(12 * MIB), PINTENSOR_ELIMIT);
    ck_assert_uint_eq(locked(), before);
}
END_TEST

START_TEST(reuse_is_not_limited)
{
    start("8M", _i == 1);
    for (unsigned i = 0; i < 1000; i++) {
        release(alloc(8 * MIB));
    }
    ck_assert_uint_eq(locked(), 8 * MIB);
    ck_assert(stats().registrations == (_i == 1));
}
END_TEST

START_TEST(sizes_that_vary_stay_within_it)
{
    start("24M", _i == 1);
    static pintensor_block kept[4];
    uint64_t seed = 1;
    for (unsigned i = 0; i < 600; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t size = 4 * KIB + (seed >> 33) % (4 * MIB); /* four of them always fit */
        release(kept[i % 4]);
        kept[i % 4] = (pintensor_block){0};
        kept[i % 4] = alloc(size);
        REQUIRE(pt_pin_bytes() <= 24 * MIB);
    }
}
END_TEST

START_TEST(beyond_it_unlocked_if_that_is_wanted)
{
    setenv("PINTENSOR_ON_LIMIT", "pageable", 1);
    catch_stderr();
    start("4M", false);
    alloc(3 * MIB);
    alloc(3 * MIB);
    ck_assert(stats().pageable_blocks == 1 && vmlck() == 3 * MIB);
    has(suite_stderr(),
        "going on with memory that is not locked: cannot lock 3.0 MiB more memory: this process may have 4.0 MiB");
}
END_TEST

static void *ask(void *unused)
{
    (void)unused;
    pintensor_block b;
    for (unsigned i = 0; i < 200; i++) {
        if (pintensor_alloc(manager, (1 + i % 5) * 300 * KIB, &b) == 0) {
            REQUIRE(pt_pin_bytes() <= 8 * MIB);
            release(b);
        }
    }
    return NULL;
}

START_TEST(threads_do_not_pass_it_together)
{
    start("8M", _i == 1);
    pthread_t threads[6];
    for (unsigned i = 0; i < 6; i++) {
        pthread_create(&threads[i], NULL, ask, NULL);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
    }
    EVENTUALLY(pt_limit_room(8 * MIB - pt_pin_bytes()));
    ck_assert(!pt_limit_room(8 * MIB - pt_pin_bytes() + 1)); /* nothing got lost in the count */
}
END_TEST

static void use_all_again(void)
{
    manager = pintensor_manager_create();
    alloc(8 * MIB);
    REQUIRE(refused(MIB) == PINTENSOR_ELIMIT);
}

START_TEST(a_child_has_a_limit_of_its_own)
{
    start("8M", false);
    alloc(8 * MIB);
    ck_assert(child_does(use_all_again));
    ck_assert_int_eq(refused(MIB), PINTENSOR_ELIMIT);
}
END_TEST

/* ---- the soft limit ---- */

START_TEST(the_soft_limit_warns_once)
{
    catch_stderr();
    start("soft:4M", _i == 1);
    pintensor_block a = alloc(4 * MIB);
    ck_assert_str_eq(suite_stderr(), "");
    alloc(2 * MIB);
    has(suite_stderr(), "warning: more memory is locked than is wanted: this process may have 4.0 MiB and has 6.0 MiB "
                        "(PINTENSOR_LIMIT=soft:4M). Most of it: 4.0 MiB in 1 block from ");
    release(a);
    pintensor_trim();
    alloc(40 * MIB);
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
}
END_TEST

/* ---- the node ---- */

static char folder[] = "/tmp/pintensor-node-XXXXXX";

static void own_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    pt_node_share_folder = folder;
}

static void remove_folder(void)
{
    unlink(pt_node_share_file());
    rmdir(folder);
}

/* Another process of the user, which has so much. */
static pid_t another(size_t bytes)
{
    int ready[2];
    char c;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = suite_fork();
    if (pid == 0) {
        manager = pintensor_manager_create();
        alloc(bytes);
        (void)!write(ready[1], "x", 1);
        pause();
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    return pid;
}

START_TEST(processes_share_what_the_node_may_have)
{
    own_folder();
    setenv("PINTENSOR_LIMIT", "node:16M", 1);
    pid_t child = another(10 * MIB);
    start("node:16M", false);
    pintensor_block a = alloc(5 * MIB);
    ck_assert_int_eq(refused(2 * MIB), PINTENSOR_ELIMIT);
    has(pintensor_last_error(),
        "this user's processes on this machine may have 16.0 MiB and have 15.0 MiB, of which 5.0 MiB are "
        "this one's (PINTENSOR_LIMIT=node:16M)");
    kill(child, SIGKILL);
    siginfo_t info;
    (void)waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT); /* nobody has asked for its status yet */
    alloc(11 * MIB);
    (void)waitpid(child, NULL, 0);
    ck_assert_int_eq(refused(MIB), PINTENSOR_ELIMIT);
    release(a);
    pintensor_trim();
    child = another(5 * MIB); /* it has the slot of the first */
    ck_assert_int_eq(refused(MIB), PINTENSOR_ELIMIT);
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    remove_folder();
}
END_TEST

START_TEST(small_blocks_count_for_the_node_too)
{
    own_folder();
    setenv("PINTENSOR_LIMIT", "node:4M", 1);
    pid_t child = another(2 * MIB);
    start("node:4M", false);
    unsigned made = 0;
    while (refused(1000) == 0) {
        ck_assert_uint_lt(made++, 3000);
    }
    ck_assert(made > 1500 && locked() <= 2 * MIB);
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    while (refused(1000) == 0) {
        ck_assert_uint_lt(made++, 5000);
    }
    ck_assert(made > 3500 && locked() <= 4 * MIB);
    remove_folder();
}
END_TEST

START_TEST(the_node_has_a_soft_limit_too)
{
    own_folder();
    catch_stderr();
    setenv("PINTENSOR_LIMIT", "node:soft:8M", 1);
    pid_t child = another(7 * MIB);
    start("node:soft:8M", false);
    alloc(2 * MIB);
    alloc(2 * MIB);
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    has(suite_stderr(),
        "this user's processes on this machine may have 8.0 MiB and have 9.0 MiB, of which 2.0 MiB are this one's");
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    remove_folder();
}
END_TEST

static void write_file(mode_t mode, size_t size, int fill)
{
    static char bytes[64 * KIB];
    memset(bytes, fill, sizeof bytes);
    int fd = open(pt_node_share_file(), O_CREAT | O_EXCL | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

/* A file that is not ours to use: one line, no limit for the node, and not a byte of it is changed. */
START_TEST(a_file_that_others_may_have_made_is_not_used)
{
    own_folder();
    ck_assert_int_eq(pt_node_share_join(), 0); /* to know the name */
    unlink(pt_node_share_file());
    char elsewhere[64];
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder);
    switch (_i) {
    case 0: write_file(0666, 0, 0); break;
    case 1: write_file(0600, 100, 0); break;
    case 2: write_file(0600, 16 * KIB, 'x'); break;
    case 3: ck_assert_int_eq(symlink(elsewhere, pt_node_share_file()), 0); break;
    case 4: ck_assert_int_eq(mkfifo(pt_node_share_file(), 0600), 0); break;
    case 5: ck_assert_int_eq(mkdir(pt_node_share_file(), 0700), 0); break;
    default: pt_node_share_folder = "/nowhere"; break;
    }
    catch_stderr();
    start("node:1M,8M", false);
    alloc(6 * MIB);
    ck_assert_int_eq(refused(4 * MIB), PINTENSOR_ELIMIT); /* that of the process holds */
    has(suite_stderr(), "this process keeps no limit for the node (errno ");
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
    ck_assert_int_ne(access(elsewhere, F_OK), 0);
    rmdir(pt_node_share_file());
    remove_folder();
}
END_TEST

/* The same user may write anything into it: nobody crashes, waits, or goes wrong for longer than it lasts. */
START_TEST(whatever_is_written_into_it_does_no_harm)
{
    own_folder();
    start("node:16M", false);
    pintensor_block a = alloc(4 * MIB);
    int fd = open(pt_node_share_file(), O_RDWR);
    uint64_t *words = mmap(NULL, 16 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(words, MAP_FAILED);
    for (unsigned i = 1; i < 16 * KIB / 8; i++) {
        words[i] = _i == 0 ? 0 : i % 2 == 0 ? UINT64_MAX / 3 * i : UINT64_MAX - i;
    }
    release(a);
    pintensor_trim();
    pintensor_block b = alloc(6 * MIB); /* those processes are none: swept */
    ck_assert_int_eq(refused(11 * MIB), PINTENSOR_ELIMIT);
    release(b);
    alloc(16 * MIB);
    remove_folder();
}
END_TEST

START_TEST(slots_of_ended_processes_are_taken_again)
{
    own_folder();
    setenv("PINTENSOR_LIMIT", "node:16M", 1);
    catch_stderr();
    for (unsigned i = 0; i < 1200; i++) { /* more than there are slots */
        pid_t child = suite_fork();
        if (child == 0) {
            suite_leave(pt_node_share_join() == 0 ? 0 : 1);
        }
        int status;
        (void)waitpid(child, &status, 0);
        ck_assert_msg(status == 0, "process %u", i);
    }
    remove_folder();
}
END_TEST

int main(void)
{
    need_lockable(128 * MIB);
    TCase *tests = tcase_create("limit");
    tcase_add_test(tests, amounts);
    tcase_add_test(tests, several_at_once);
    tcase_add_loop_test(tests, what_is_no_limit, 0, WRONG);
    tcase_add_test(tests, a_bad_value_costs_one_line_and_sets_no_limit);
    tcase_add_test(tests, percent_of_all_memory);
    tcase_add_loop_test(tests, beyond_the_limit_it_is_refused_in_words, 0, 2);
    tcase_add_loop_test(tests, small_blocks_count_too, 0, 2);
    tcase_add_loop_test(tests, what_waits_goes_first, 0, 2);
    tcase_add_loop_test(tests, no_more_goes_than_is_in_the_way, 0, 2);
    tcase_add_loop_test(tests, a_hopeless_request_costs_the_cache_nothing, 0, 2);
    tcase_add_loop_test(tests, reuse_is_not_limited, 0, 2);
    tcase_add_loop_test(tests, sizes_that_vary_stay_within_it, 0, 2);
    tcase_add_test(tests, beyond_it_unlocked_if_that_is_wanted);
    tcase_add_loop_test(tests, threads_do_not_pass_it_together, 0, 2);
    tcase_add_test(tests, a_child_has_a_limit_of_its_own);
    tcase_add_loop_test(tests, the_soft_limit_warns_once, 0, 2);
    tcase_add_test(tests, processes_share_what_the_node_may_have);
    tcase_add_test(tests, small_blocks_count_for_the_node_too);
    tcase_add_test(tests, the_node_has_a_soft_limit_too);
    tcase_add_loop_test(tests, a_file_that_others_may_have_made_is_not_used, 0, 7);
    tcase_add_loop_test(tests, whatever_is_written_into_it_does_no_harm, 0, 2);
    tcase_add_test(tests, slots_of_ended_processes_are_taken_again);
    return suite_run("limit", tests);
}
