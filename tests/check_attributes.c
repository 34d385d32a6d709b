/* What a program does to the memory of blocks, as the doors tell of it: undone when the block ends, or that memory is
 * not handed out again. */
#include "blocks.h"
#include "fake.h"
#include "kernel.h"
#include "memory/pages.h"
#include "pool/attributes.h"
#include "pool/lock.h"

#include <errno.h>
#include <pthread.h>

static void start(void)
{
    manager = pintensor_manager_create();
    release(alloc(100)); /* the small region is there */
}

/* As the door does around the call. */
static bool protect(void *p, size_t len, int protection)
{
    bool rest = pt_attributes_begin(p, len);
    ck_assert_int_eq(
        kernel_call(SYS_mprotect, (long)p & ~(long)(PT_PAGE - 1), (long)pt_pages_up(len, PT_PAGE), protection, 0, 0, 0),
        0);
    if (rest) {
        pt_attributes_end(p, len);
    }
    return rest;
}

static bool is_writable(const void *p)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512], mode[5];
    uintptr_t from, to;
    bool writable = false;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && from <= (uintptr_t)p && (uintptr_t)p < to) {
            writable = mode[1] == 'w';
        }
    }
    fclose(f);
    return writable;
}

static const size_t sizes[] = {4096, 8 * KIB, 100 * KIB, 3 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

START_TEST(they_end_with_the_block)
{
    if (_i >= SIZES) {
        fake_begin();
    }
    start();
    size_t size = sizes[_i % SIZES];
    pintensor_block b = alloc(size);
    memset(b.data, 1, size);
    ck_assert(!protect(b.data, size, PROT_READ)); /* all of it is the block's */
    ck_assert(!is_writable(b.data));
    release(b);
    for (int i = 0; i < 5; i++) {
        memset(alloc(size).data, 1, size);
    }
}
END_TEST

START_TEST(a_page_of_small_blocks_waits_for_the_last)
{
    start();
    pintensor_block b[32];
    for (int i = 0; i < 32; i++) {
        b[i] = alloc(512);
    }
    char *page = (char *)((uintptr_t)b[16].data & ~(PT_PAGE - 1));
    ck_assert(!protect(page, PT_PAGE, PROT_READ));
    for (int i = 0; i < 32; i++) {
        if ((char *)b[i].data >= page && (char *)b[i].data < page + PT_PAGE) {
            ck_assert(!is_writable(page));
            release(b[i]);
        }
    }
    ck_assert(is_writable(page));
    *(volatile char *)page = 1;
}
END_TEST

static bool no_protecting(long number, const long *arguments, long *result)
{
    (void)arguments;
    *result = -EPERM; /* the program has sealed it */
    return number == SYS_pkey_mprotect || number == SYS_mprotect;
}

static const struct {
    size_t size;
    bool registers;
    int others; /* that are asked for then */
} sealed[] = {{MIB, false, 20}, {MIB, true, 20}, {8192, false, 2000}};

START_TEST(what_cannot_be_undone_is_not_handed_out_again)
{
    if (sealed[_i].registers) {
        fake_begin();
    }
    start();
    size_t size = sealed[_i].size;
    pintensor_block b = alloc(size);
    memset(b.data, 1, size);
    (void)protect(b.data, size, PROT_READ);
    kernel_watch(no_protecting);
    release(b);
    kernel_watch(NULL);
    ck_assert(!is_writable(b.data));
    for (int i = 0; i < sealed[_i].others; i++) {
        pintensor_block other = alloc(size);
        REQUIRE((char *)other.data + size <= (char *)b.data || (char *)other.data >= (char *)b.data + size);
        memset(other.data, 1, size);
    }
}
END_TEST

/* ---- memory that is nobody's ---- */

START_TEST(what_waits_is_undone_at_once)
{
    if (_i == 1) {
        fake_begin();
    }
    start();
    pintensor_block b = alloc(MIB);
    char *p = b.data;
    release(b);
    size_t locked = vmlck();
    ck_assert(protect(p + 5, MIB - 5, PROT_READ));
    ck_assert(is_writable(p) && is_writable(p + MIB - 1));
    ck_assert(pt_attributes_begin(p, MIB));
    ck_assert_int_eq(kernel_call(SYS_munlock, (long)p, MIB, 0, 0, 0, 0), 0);
    pt_attributes_end(p, MIB);
    ck_assert_uint_eq(vmlck(), locked);
    memset(alloc(MIB).data, 1, MIB);
}
END_TEST

START_TEST(all_of_the_range_at_once)
{
    const struct pt_range *r;
    start();
    r = pt_segments_range();
    pintensor_block small = alloc(100), large = alloc(MIB), gone = alloc(MIB);
    release(gone);
    ck_assert(pt_attributes_begin(r->base, r->size)); /* some of it is nobody's */
    pt_attributes_end(r->base, r->size);
    ck_assert(pt_attributes_begin((void *)PT_PAGE, SIZE_MAX - 2 * PT_PAGE));
    ck_assert(pt_attributes_begin((void *)(3 * PT_PAGE), SIZE_MAX - PT_PAGE)); /* beyond all addresses */
    pt_attributes_end((void *)(3 * PT_PAGE), SIZE_MAX - PT_PAGE);
    ck_assert(!pt_attributes_begin(r->base - MIB, MIB) && !pt_attributes_begin(r->base + r->size, MIB));
    ck_assert(!pt_attributes_begin(large.data, 0));
    release(small);
    release(large);
    memset(alloc(MIB).data, 1, MIB);
}
END_TEST

START_TEST(a_process_that_has_nothing)
{
    char here[10];
    ck_assert(!pt_attributes_begin(here, sizeof here));
    pt_attributes_end(here, sizeof here);
    pt_attributes_unlocked_all();
    ck_assert_uint_eq(vmlck(), 0);
}
END_TEST

START_TEST(after_munlockall)
{
    if (_i == 1) {
        fake_begin();
    }
    start();
    pintensor_block live = alloc(MIB), small = alloc(100), waits = alloc(2 * MIB);
    release(waits);
    size_t locked = vmlck();
    ck_assert_int_eq(kernel_call(SYS_munlockall, 0, 0, 0, 0, 0, 0), 0);
    pt_attributes_unlocked_all();
    ck_assert_uint_eq(vmlck(), _i == 1 ? locked : locked - MIB); /* the live ones are as the program wants them */
    release(live);
    release(small);
    alloc(MIB);
    ck_assert_uint_ge(vmlck(), _i == 1 ? 0 : MIB); /* a new block is locked */
}
END_TEST

/* ---- a lock that does not come ---- */

static pthread_barrier_t turn;

static void *keeps_the_lock(void *unused)
{
    pt_lock_enter();
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    pt_lock_leave();
    return unused;
}

/* A signal handler may have interrupted the thread that holds it: it is not waited for. */
START_TEST(somebody_holds_the_lock)
{
    pthread_t thread;
    start();
    pintensor_block b = alloc(MIB);
    release(b);
    size_t locked = vmlck();
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, keeps_the_lock, NULL);
    pthread_barrier_wait(&turn);
    ck_assert_int_eq(kernel_call(SYS_munlock, (long)b.data, MIB, 0, 0, 0, 0), 0);
    pt_attributes_end(b.data, MIB);
    pt_attributes_unlocked_all();
    ck_assert_uint_eq(vmlck(), locked - MIB); /* nothing was done */
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
    pt_attributes_unlocked_all();
    ck_assert_uint_eq(vmlck(), locked);
}
END_TEST

int main(void)
{
    need_lockable(32 * MIB);
    TCase *tests = tcase_create("attributes");
    tcase_add_loop_test(tests, they_end_with_the_block, 0, 2 * SIZES);
    tcase_add_test(tests, a_page_of_small_blocks_waits_for_the_last);
    tcase_add_loop_test(tests, what_cannot_be_undone_is_not_handed_out_again, 0, sizeof sealed / sizeof sealed[0]);
    tcase_add_loop_test(tests, what_waits_is_undone_at_once, 0, 2);
    tcase_add_test(tests, all_of_the_range_at_once);
    tcase_add_test(tests, a_process_that_has_nothing);
    tcase_add_loop_test(tests, after_munlockall, 0, 2);
    tcase_add_test(tests, somebody_holds_the_lock);
    return suite_run("attributes", tests);
}
