/* Kernel calls on memory that the kernel refuses: what is undone, what is said, and that all goes on. */
#include "base/sandbox.h"
#include "kernel.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "pintensor.h"
#include "suite.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/prctl.h>

enum { LEN = 8 * 4096 };

static char *scratch(void)
{
    char *p = pt_pages_scratch(LEN);
    ck_assert_ptr_nonnull(p);
    memset(p, 1, LEN);
    return p;
}

static void *reserved(void)
{
    void *p = pt_pages_reserve(PT_HUGE);
    ck_assert_ptr_nonnull(p);
    return p;
}

static bool is_open(const void *p)
{
    unsigned char present;
    return kernel_call(SYS_mincore, (long)p, 4096, (long)&present, 0, 0, 0) == 0;
}

/* ---- locking ---- */

START_TEST(a_lock_that_is_refused_leaves_nothing_locked)
{
    char *p = scratch();
    kernel_refuse(SYS_mlock, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_lock(p, LEN), -ENOMEM);
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_int_eq(p[0], 0); /* and nothing present */
    ck_assert_int_eq(pt_pages_lock(p, LEN), 0);
    ck_assert_uint_eq(vmlck(), LEN);
    ck_assert(pt_pages_lock(p, 0) == 0 && pt_pages_unlock(p, 0) == 0);
    pt_pages_unlock_keep(p, 0);
    ck_assert_uint_eq(vmlck(), LEN);
    kernel_refuse(SYS_mlock, EPERM, 0, 1);
    ck_assert_int_eq(pt_pages_lock_again(p, LEN), -EPERM);
    ck_assert_int_eq(pt_pages_lock_again(p, LEN), 0);
    kernel_refuse(SYS_mlock2, ENOSYS, 0, 1);
    ck_assert_int_eq(pt_pages_claim(p, LEN), -ENOSYS);
    ck_assert_int_eq(pt_pages_claim(p, LEN), 0);
}
END_TEST

START_TEST(an_unlock_that_is_refused_takes_other_pages)
{
    char *p = scratch();
    ck_assert_int_eq(pt_pages_lock(p, LEN), 0);
    kernel_refuse(SYS_munlock, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_unlock(p, LEN), 0);
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_int_eq(p[0] | p[LEN - 1], 0);
    p[0] = 1; /* they are of use */
}
END_TEST

static bool no_munlock_and_no_mmap(long number, const long *arguments, long *result)
{
    (void)arguments;
    *result = -ENOMEM;
    return number == SYS_munlock || number == SYS_mmap;
}

START_TEST(an_unlock_that_is_refused_for_good_changes_nothing)
{
    char *p = scratch();
    ck_assert_int_eq(pt_pages_lock(p, LEN), 0);
    kernel_watch(no_munlock_and_no_mmap);
    ck_assert_int_eq(pt_pages_unlock(p, LEN), -ENOMEM);
    kernel_watch(NULL);
    ck_assert_uint_eq(vmlck(), LEN);
    ck_assert_int_eq(p[0] & p[LEN - 1], 1);
    pt_pages_share(p, LEN);
    kernel_refuse(SYS_munlock, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_unlock(p, LEN), -ENOMEM); /* what children share is not taken from them */
    ck_assert_int_eq(p[0] & p[LEN - 1], 1);
    ck_assert_int_eq(pt_pages_unlock(p, LEN), 0);
}
END_TEST

/* ---- mapping ---- */

START_TEST(pages_that_cannot_be_opened)
{
    char *p = reserved();
    size_t before = mappings();
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, false), -ENOMEM);
    ck_assert(!is_open(p));
    kernel_refuse(SYS_mprotect, EACCES, 0, 1);
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, false), -EACCES);
    ck_assert(!is_open(p));
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_open_book(p, PT_HUGE), -ENOMEM);
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_open_wiped_book(p, PT_HUGE), -ENOMEM);
    ck_assert_uint_eq(mappings(), before);
    kernel_refuse(SYS_madvise, EINVAL, 0, 10); /* hints */
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, false), 0);
    ck_assert_uint_gt(kernel_refused(), 0);
    p[0] = 1;
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, true), -EEXIST); /* by now somebody's: ours */
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_ptr_null(pt_pages_scratch(LEN));
}
END_TEST

/* A kernel of before 4.17 takes the address for a hint, and may map elsewhere. */
static bool elsewhere(long number, const long *arguments, long *result)
{
    if (number != SYS_mmap) {
        return false;
    }
    *result =
        kernel_call(SYS_mmap, 0, arguments[1], arguments[2], arguments[3] & ~0x100000L, arguments[4], arguments[5]);
    return true;
}

START_TEST(a_kernel_that_takes_addresses_for_hints)
{
    char *p = reserved();
    size_t before = mappings();
    kernel_watch(elsewhere);
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, false), -EEXIST);
    kernel_watch(NULL);
    ck_assert(!is_open(p));
    ck_assert_uint_eq(mappings(), before);
}
END_TEST

START_TEST(addresses_that_others_have_are_passed_by)
{
    char *first = reserved();
    kernel_refuse(SYS_mmap, EEXIST, 0, 3);
    char *p = pt_pages_reserve(PT_HUGE);
    ck_assert_uint_eq(kernel_refused(), 3);
    ck_assert(p != NULL && p < first - ((size_t)64 << 30));
    kernel_refuse(SYS_mmap, EEXIST, 0, 1000);
    ck_assert_ptr_null(pt_pages_reserve(PT_HUGE));
    ck_assert_uint_lt(kernel_refused(), 100); /* it gives up */
    kernel_refuse(0, 0, 0, 0);
    ck_assert_ptr_nonnull(pt_pages_reserve(PT_HUGE));
}
END_TEST

START_TEST(whether_addresses_are_free_cannot_be_seen)
{
    kernel_refuse(SYS_mmap, EAGAIN, 0, 1);
    ck_assert_ptr_nonnull(pt_pages_reserve(PT_HUGE)); /* a limit: they are free, as far as anybody can tell */
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_ptr_nonnull(pt_pages_reserve(PT_HUGE));
    kernel_refuse(SYS_mmap, EPERM, 0, 1);
    ck_assert_ptr_null(pt_pages_reserve(PT_HUGE));
    kernel_refuse(SYS_munmap, ENOMEM, 0, 1);
    ck_assert_ptr_null(pt_pages_reserve(PT_HUGE));
    ck_assert_ptr_null(pt_pages_reserve((size_t)1 << 47));
}
END_TEST

/* Whole, or with what has to be cut off on either side. */
static long misplaced_by;
static bool place_it(long number, const long *arguments, long *result)
{
    if (number != SYS_mmap || arguments[0] != 0) {
        return false;
    }
    long at = 0x300000000000 + misplaced_by;
    *result = kernel_call(SYS_mmap, at, arguments[1], arguments[2], arguments[3] | 0x100000, -1, 0);
    return true;
}

START_TEST(addresses_that_are_reserved_by_mapping_them)
{
    pt_pages_reserve_by_mapping();
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_ptr_null(pt_pages_reserve(PT_HUGE));
    kernel_watch(place_it);
    misplaced_by = _i * 4096;
    char *p = pt_pages_reserve(3 * PT_HUGE - 5);
    kernel_watch(NULL);
    ck_assert_uint_eq((uintptr_t)p, 0x300000000000 + (_i > 0 ? PT_HUGE : 0));
    ck_assert(is_open(p) && is_open(p + 3 * PT_HUGE - 4096));
    ck_assert(!is_open(p - 4096) && !is_open(p + 3 * PT_HUGE));
    ck_assert_int_eq(pt_pages_open(p, PT_HUGE, false), 0);
    p[0] = 1;
}
END_TEST

START_TEST(a_file_that_has_no_room)
{
    char name[] = "/tmp/pintensor-check-XXXXXX", *p = reserved();
    int fd = mkstemp(name);
    unlink(name);
    ck_assert_int_eq(ftruncate(fd, LEN), 0);
    kernel_refuse(SYS_fallocate, ENOSPC, 0, 1);
    ck_assert_int_eq(pt_pages_open_file(p, LEN, fd, 0), -ENOSPC);
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_int_eq(pt_pages_open_file(p, LEN, fd, 0), -ENOMEM);
    ck_assert(!is_open(p));
    struct rlimit before, few = {.rlim_cur = LEN - 1, .rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    few.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
    ck_assert_int_eq(pt_pages_open_file(p, LEN, fd, 0), -EFBIG);
    setrlimit(RLIMIT_FSIZE, &before);
    kernel_refuse(SYS_getrlimit, EPERM, 0, 1);
    ck_assert_int_eq(pt_pages_open_file(p, LEN, fd, 0), 0);
    char byte;
    p[5] = 'x';
    ck_assert(kernel_call(SYS_pread64, fd, (long)&byte, 1, 5, 0, 0) == 1 && byte == 'x');
    pt_pages_renew(p, LEN);
    ck_assert_int_eq(p[5], 0);
}
END_TEST

START_TEST(pages_become_plain_again)
{
    char *p = scratch();
    ck_assert_int_eq(mprotect(p, LEN, PROT_NONE), 0);
    kernel_refuse(SYS_pkey_mprotect, ENOSYS, 0, 1); /* an old kernel */
    ck_assert_int_eq(pt_pages_plain(p, LEN, _i == 0), 0);
    ck_assert_uint_eq(kernel_refused(), 1);
    ck_assert_int_eq(p[0], 1); /* it holds what it held */
    p[0] = 2;
    ck_assert_int_eq(mprotect(p, LEN, PROT_NONE), 0);
    ck_assert_int_eq(pt_pages_plain(p, LEN, _i == 0), 0);
    p[0] = 3;
    munmap(p, LEN);
    ck_assert_int_eq(pt_pages_plain(p, LEN, _i == 0), -ENOMEM);
}
END_TEST

START_TEST(no_whole_huge_page)
{
    char *p = scratch();
    pt_pages_make_huge(p, LEN);
    ck_assert_int_eq(p[0], 1); /* nothing was written */
}
END_TEST

/* ---- whose memory it is ---- */

static pintensor_manager manager;

static void pins(void)
{
    pintensor_block b;
    manager = pintensor_manager_create();
    ck_assert_int_eq(pintensor_alloc(manager, MIB, &b), 0);
    memset(b.data, 5, MIB);
    ck_assert_uint_eq(vmlck(), MIB);
}

START_TEST(no_page_to_tell_whose_it_is)
{
    pintensor_block b;
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1);
    ck_assert_uint_eq(pintensor_manager_create(), 0);
    ck_assert_uint_eq(kernel_refused(), 1);
    ck_assert(!pt_owner_owns() && !pt_owner_owns_strictly());
    ck_assert_int_ne(pintensor_alloc(0, MIB, &b), 0);
    pins(); /* there is one by now */
    ck_assert(pt_owner_owns());
}
END_TEST

static void has_nothing_at_first(void)
{
    ck_assert(!pt_owner_owns() && !pt_owner_owns_strictly());
    pins();
    ck_assert(pt_owner_owns() && pt_owner_owns_strictly());
}

START_TEST(a_kernel_that_wipes_no_page)
{
    bool wiped;
    kernel_refuse(SYS_madvise, EINVAL, 0, 1);
    ck_assert(pt_pages_owner_mark(&wiped) != NULL && !wiped);
    kernel_refuse(SYS_madvise, EINVAL, 0, 1);
    pins();
    ck_assert_uint_eq(kernel_refused(), 1);
    ck_assert(child_does(has_nothing_at_first));
    ck_assert(child_past_libc_does(has_nothing_at_first));
    ck_assert(pt_owner_owns() && vmlck() == MIB);
}
END_TEST

START_TEST(a_child_past_libc)
{
    pins();
    ck_assert(child_past_libc_does(has_nothing_at_first));
    ck_assert(pt_owner_owns() && vmlck() == MIB);
}
END_TEST

static pthread_barrier_t all_are_here;

static void *is_first(void *unused)
{
    pthread_barrier_wait(&all_are_here);
    REQUIRE(pintensor_manager_create() != 0);
    return unused;
}

START_TEST(many_threads_are_the_first_at_once)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    pthread_barrier_init(&all_are_here, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, is_first, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    pins();
}
END_TEST

/* ---- what is said ---- */

static const char *explained(size_t len, int error)
{
    static char text[2000];
    struct pt_text t;
    pt_text_init(&t, text, sizeof text, -1);
    pt_pin_explain(len, error, &t);
    return text;
}

static void says(int error, const char *part)
{
    const char *text = explained(MIB, error);
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in '%s'", part, text);
}

static void forbid_something(void)
{
    pt_sandbox_init();
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(which_limit_it_is)
{
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    if (getrlimit(RLIMIT_AS, &none) != 0 || none.rlim_cur != RLIM_INFINITY) {
        return; /* the words for that would come first */
    }
    says(ENOMEM, "too little free memory (errno 12)");
    says(EPERM, "the kernel does not permit it");
    says(ENOBUFS, "addresses that are kept for pinned memory");
    says(ENOSPC, "of memory, of which");
    kernel_refuse(SYS_openat, EACCES, 0, 100); /* nothing is told */
    says(ENOMEM, "(0 B locked now)");
    says(ENOMEM, "too little free memory");
    kernel_refuse(0, 0, 0, 0);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = MIB, .rlim_max = none.rlim_max}), 0);
    const char *text = explained(MIB, ENOMEM);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &none), 0);
    ck_assert_ptr_nonnull(strstr(text, "the address-space limit is 1.0 MiB"));
    limit_memlock(KIB, KIB);
    says(ENOMEM, "the memlock limit is 1.0 KiB");
    says(ENOSPC, "of memory, of which");
    kernel_refuse(SYS_getrlimit, EPERM, 0, 2);
    says(ENOMEM, "too little free memory");
    forbid_something();
    says(ENOMEM, "too little free memory");
}
END_TEST

START_TEST(who_may_lock_without_limit)
{
    struct rlimit limit = {KIB, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || strstr(explained(MIB, ENOMEM), "memlock limit") != NULL) {
        return; /* this user may not */
    }
    kernel_refuse(SYS_capget, EPERM, 0, 1);
    says(ENOMEM, "the memlock limit is 1.0 KiB");
    says(ENOMEM, "too little free memory");
}
END_TEST

START_TEST(as_many_mappings_as_there_may_be)
{
    char root[] = "/tmp/pintensor-check-XXXXXX", command[200];
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(command, sizeof command, "mkdir -p %s/proc/sys/vm && echo 5 >%s/proc/sys/vm/max_map_count", root, root);
    ck_assert_int_eq(system(command), 0);
    kernel_files(root);
    says(ENOMEM, "memory mappings of at most 5");
    kernel_files(NULL);
    snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(the_soft_limit_is_raised_if_it_may_be)
{
    char *p = scratch();
    limit_memlock(4096, LEN);
    kernel_refuse(SYS_getrlimit, EPERM, 0, 1);
    ck_assert_int_eq(pt_pin_acquire(p, LEN), -ENOMEM);
    ck_assert_int_eq(pt_pin_error(), ENOMEM);
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_int_eq(pt_pin_acquire(p, LEN), 0);
    ck_assert_uint_eq(vmlck(), LEN);
    ck_assert_uint_eq(pt_pin_bytes(), LEN);
    char *other = scratch();
    ck_assert_int_eq(pt_pin_acquire(other, LEN), -ENOMEM); /* the hard one stands */
    ck_assert_uint_eq(pt_pin_bytes(), LEN);
    kernel_watch(no_munlock_and_no_mmap);
    ck_assert(!pt_pin_release(p, LEN));
    kernel_watch(NULL);
    ck_assert_uint_eq(pt_pin_bytes(), LEN);
    ck_assert(pt_pin_release(p, LEN));
    ck_assert_uint_eq(pt_pin_bytes() + vmlck(), 0);
    pt_pin_unregister(p, 0);
    ck_assert_int_eq(pt_pin_register(p, LEN), -ENODEV);
}
END_TEST

START_TEST(nobody_raises_it_in_a_sandbox)
{
    char *p = scratch();
    limit_memlock(4096, LEN);
    forbid_something();
    ck_assert_int_eq(pt_pin_acquire(p, LEN), -ENOMEM);
}
END_TEST

/* ---- words of a thread that has no memory for them ---- */

static void *fails_without_a_page(void *unused)
{
    kernel_refuse(SYS_mmap, ENOMEM, 0, 1000);
    REQUIRE(pintensor_alloc(1, 1, NULL) == PINTENSOR_EINVALID);
    REQUIRE(strcmp(pintensor_last_error(), pintensor_strerror(PINTENSOR_EINVALID)) == 0);
    kernel_refuse(0, 0, 0, 0);
    REQUIRE(pintensor_alloc(1, 1, NULL) == PINTENSOR_EINVALID);
    REQUIRE(strstr(pintensor_last_error(), "block is NULL") != NULL);
    return unused;
}

START_TEST(a_failure_has_its_code_s_words_at_least)
{
    ck_assert_str_eq(pintensor_last_error(), "");
    (void)fails_without_a_page(NULL);
}
END_TEST

int main(void)
{
    need_lockable(4 * MIB);
    TCase *tests = tcase_create("pages");
    tcase_add_test(tests, a_lock_that_is_refused_leaves_nothing_locked);
    tcase_add_test(tests, an_unlock_that_is_refused_takes_other_pages);
    tcase_add_test(tests, an_unlock_that_is_refused_for_good_changes_nothing);
    tcase_add_test(tests, pages_that_cannot_be_opened);
    tcase_add_test(tests, a_kernel_that_takes_addresses_for_hints);
    tcase_add_test(tests, addresses_that_others_have_are_passed_by);
    tcase_add_test(tests, whether_addresses_are_free_cannot_be_seen);
    tcase_add_loop_test(tests, addresses_that_are_reserved_by_mapping_them, 0, 2);
    tcase_add_test(tests, a_file_that_has_no_room);
    tcase_add_loop_test(tests, pages_become_plain_again, 0, 2);
    tcase_add_test(tests, no_whole_huge_page);
    tcase_add_test(tests, no_page_to_tell_whose_it_is);
    tcase_add_test(tests, a_kernel_that_wipes_no_page);
    tcase_add_test(tests, a_child_past_libc);
    tcase_add_test(tests, many_threads_are_the_first_at_once);
    tcase_add_test(tests, which_limit_it_is);
    tcase_add_test(tests, who_may_lock_without_limit);
    tcase_add_test(tests, as_many_mappings_as_there_may_be);
    tcase_add_test(tests, the_soft_limit_is_raised_if_it_may_be);
    tcase_add_test(tests, nobody_raises_it_in_a_sandbox);
    tcase_add_test(tests, a_failure_has_its_code_s_words_at_least);
    return suite_run("pages", tests);
}
