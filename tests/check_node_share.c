/* The file that a user's processes share, where something is refused or somebody else has written: nobody joins then,
 * or what this process has is told all the same. */
#include "base/sandbox.h"
#include "kernel.h"
#include "memory/node_share.h"
#include "suite.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { SIZE = 16 << 10, WORDS = SIZE / 8, USED = 1, FIRST = 2 }; /* of 64 bits; slots of two words begin at FIRST */

static char folder[] = "/tmp/pintensor-node-XXXXXX";

static void begin(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    pt_node_share_folder = folder;
}

static void clean_up(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)!system(command);
}

static volatile uint64_t *file(void)
{
    int fd = open(pt_node_share_file(), O_RDWR);
    volatile uint64_t *words = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(words != MAP_FAILED);
    close(fd);
    return words;
}

static const struct {
    long number;
    unsigned skip;
    int error, result;
} refusals[] = {{SYS_openat, 0, EACCES, -ENOENT}, /* /proc */
                {SYS_openat, 1, EACCES, -EACCES}, /* the file */
                {SYS_read, 0, EIO, -ENOENT},      {SYS_fallocate, 0, ENOSPC, -ENOSPC},
                {SYS_mmap, 0, ENOMEM, -ENOMEM},   {SYS_getrlimit, 0, EPERM, 0},
                {SYS_stat, 0, ENOENT, 0}}; /* of whose numbers they are: a file of its own */

START_TEST(something_is_refused)
{
    begin();
    kernel_refuse(refusals[_i].number, refusals[_i].error, refusals[_i].skip, 1);
    int error = pt_node_share_join();
    unsigned refused = kernel_refused();
    kernel_refuse(0, 0, 0, 0);
    ck_assert_uint_eq(refused, 1);
    ck_assert_int_eq(error, refusals[_i].result);
    ck_assert_int_eq(pt_node_share_join(), 0);
    pt_node_share_add(MIB);
    ck_assert_uint_eq(pt_node_share_all(), MIB);
}
END_TEST

/* But of what is kept open, far above other descriptors. */
static bool no_fstat(long number, const long *arguments, long *result)
{
    *result = -EIO;
    return number == SYS_fstat && arguments[0] < 600;
}

START_TEST(what_the_file_is_cannot_be_seen)
{
    begin();
    kernel_watch(no_fstat);
    int error = pt_node_share_join();
    kernel_watch(NULL);
    ck_assert_int_eq(error, -EIO);
}
END_TEST

START_TEST(files_may_not_be_so_large)
{
    struct rlimit before, few;
    begin();
    getrlimit(RLIMIT_FSIZE, &before);
    few = (struct rlimit){.rlim_cur = SIZE - 1, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &few);
    ck_assert_int_eq(pt_node_share_join(), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_int_eq(pt_node_share_join(), 0);
}
END_TEST

START_TEST(the_file_has_another_name_too)
{
    char other[64];
    begin();
    ck_assert_int_eq(pt_node_share_join(), 0);
    snprintf(other, sizeof other, "%s/other", folder);
    ck_assert_int_eq(link(pt_node_share_file(), other), 0);
    ck_assert_int_eq(pt_node_share_join(), -EACCES);
}
END_TEST

START_TEST(the_file_is_another_user_s)
{
    begin();
    ck_assert_int_eq(pt_node_share_join(), 0);
    if (chown(pt_node_share_file(), 12345, (gid_t)-1) == 0) { /* root alone can try */
        ck_assert_int_eq(pt_node_share_join(), -EACCES);
    }
}
END_TEST

START_TEST(who_joins_again_has_the_slot_it_had)
{
    begin();
    for (int i = 0; i < 3; i++) { /* as after exec() */
        ck_assert_int_eq(pt_node_share_join(), 0);
        ck_assert_uint_eq(file()[USED], 1);
        pt_node_share_add(MIB);
        ck_assert_uint_eq(pt_node_share_all(), MIB);
    }
}
END_TEST

START_TEST(a_slot_that_somebody_wrote_over)
{
    begin();
    ck_assert_int_eq(pt_node_share_join(), 0);
    pt_node_share_add(3 * MIB);
    file()[FIRST] = 0;
    pt_node_share_sub(MIB);
    ck_assert_uint_eq(pt_node_share_all(), 2 * MIB);
    ck_assert_uint_eq(file()[FIRST + 1], 2 * MIB); /* taken anew, with all that it has */
    file()[FIRST] = 0;
    pt_node_share_add(MIB);
    ck_assert_uint_eq(file()[FIRST + 1], 3 * MIB);
    file()[USED] = UINT64_MAX; /* nonsense */
    ck_assert_uint_eq(pt_node_share_all(), 3 * MIB);
}
END_TEST

/* A process that lives, and what its slot says of it. */
static pid_t living(uint64_t *who)
{
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = suite_fork();
    if (child == 0) {
        (void)pt_node_share_join();
        (void)!write(ready[1], "x", 1);
        for (;;) {
            pause();
        }
    }
    ck_assert_int_eq(read(ready[0], &(char){0}, 1), 1);
    ck_assert_int_eq(file()[FIRST] >> 32, child);
    *who = file()[FIRST];
    return child;
}

START_TEST(all_slots_are_taken)
{
    uint64_t who;
    begin();
    ck_assert_int_eq(pt_node_share_join(), 0);
    file()[FIRST] = 0;
    pid_t child = living(&who);
    volatile uint64_t *words = file();
    for (int i = FIRST; i < WORDS; i += 2) {
        words[i] = who;
    }
    words[USED] = WORDS;
    ck_assert_int_eq(pt_node_share_join(), -EUSERS);
    kill(child, SIGKILL); /* it is not waited for: a zombie is nobody */
    for (int i = 0; i < 1000 && pt_node_share_join() != 0; i++) {
        usleep(10000);
    }
    ck_assert_int_eq(pt_node_share_join(), 0);
    ck_assert_uint_eq(pt_node_share_all(), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

static void forbid_something(void)
{
    pt_sandbox_init();
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(nobody_looks_in_a_sandbox)
{
    begin();
    ck_assert_int_eq(pt_node_share_join(), 0);
    file()[FIRST + 2] = 77; /* no process */
    file()[USED] = 2;
    ck_assert(pt_node_share_sweep() && !pt_node_share_sweep());
    file()[FIRST + 2] = 77;
    forbid_something();
    ck_assert(!pt_node_share_sweep());
    pt_node_share_add(MIB);
    ck_assert_uint_eq(pt_node_share_all(), MIB);
    ck_assert_int_eq(pt_node_share_join(), -EPERM);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("node share");
    tcase_add_checked_fixture(tests, NULL, clean_up);
    tcase_add_loop_test(tests, something_is_refused, 0, sizeof refusals / sizeof refusals[0]);
    tcase_add_test(tests, what_the_file_is_cannot_be_seen);
    tcase_add_test(tests, files_may_not_be_so_large);
    tcase_add_test(tests, the_file_has_another_name_too);
    tcase_add_test(tests, the_file_is_another_user_s);
    tcase_add_test(tests, who_joins_again_has_the_slot_it_had);
    tcase_add_test(tests, a_slot_that_somebody_wrote_over);
    tcase_add_test(tests, all_slots_are_taken);
    tcase_add_test(tests, nobody_looks_in_a_sandbox);
    return suite_run("node share", tests);
}
