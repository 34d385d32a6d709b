/* How often the pool's lock is taken: the functions below stand before libc's, in this program alone, and count. */
#include "blocks.h"
#include "fake.h"
#include "life/managers.h"
#include "memory/arena.h"
#include "pool/lock.h"
#include "pool/magazine.h"
#include "pool/registration.h"

#include <errno.h>
#include <pthread.h>

enum { MUTEXES = 16 };

/* This thread's alone: the background thread takes the lock whenever it likes. */
static __thread bool counting;
static __thread struct {
    const pthread_mutex_t *mutex;
    unsigned taken;
} seen[MUTEXES];

static unsigned *taken(const pthread_mutex_t *mutex)
{
    unsigned i = 0;
    while (i < MUTEXES - 1 && seen[i].mutex != NULL && seen[i].mutex != mutex) {
        i++;
    }
    seen[i].mutex = mutex;
    return &seen[i].taken;
}

static int take(const char *name, pthread_mutex_t *mutex)
{
    int (*real)(pthread_mutex_t *);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    int error = real(mutex);
    *taken(mutex) += counting && error == 0;
    return error;
}

__attribute__((visibility("default"))) int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    return take("pthread_mutex_lock", mutex);
}

/* By libc's own name for it: old_libc.h gives it another one. */
__attribute__((visibility("default"))) int try_lock(pthread_mutex_t *mutex) __asm__("pthread_mutex_trylock");
int try_lock(pthread_mutex_t *mutex)
{
    return take("pthread_mutex_trylock", mutex);
}

static const pthread_mutex_t *pools;

static void begin_count(void)
{
    memset(seen, 0, sizeof seen);
    counting = true;
}

/* The dynamic linker's, in ld.so's own memory: dl_iterate_phdr() takes it, and we before it. */
static bool is_the_linkers(const pthread_mutex_t *mutex)
{
    Dl_info object;
    return mutex != NULL && dladdr(mutex, &object) != 0 && strstr(object.dli_fname, "/ld-") != NULL;
}

/* How often the pool's lock was taken since; *all: any lock of ours. No ck_assert in between, which takes some. */
static unsigned end_count(unsigned *all)
{
    counting = false;
    *all = 0;
    for (unsigned i = 0; i < MUTEXES; i++) {
        *all += is_the_linkers(seen[i].mutex) ? 0 : seen[i].taken;
    }
    return *taken(pools);
}

/* The first time that a line asks or frees there is more to do: its site is entered, and memory made. Small blocks are
 * jemalloc's, which has locks of its own. */
static bool first, small;

#define REQUIRE_ONCE(call)                                                                                             \
    do {                                                                                                               \
        unsigned all_;                                                                                                 \
        begin_count();                                                                                                 \
        call;                                                                                                          \
        unsigned once_ = end_count(&all_);                                                                             \
        if (!first && (once_ != 1 || (all_ != 1 && !small))) {                                                         \
            ck_abort_msg("%s: the pool's lock was taken %u times, all locks %u times", #call, once_, all_);            \
        }                                                                                                              \
    } while (0)

static void start(bool registers)
{
    if (registers) {
        fake_begin();
    }
    manager = pintensor_manager_create();
    begin_count();
    pt_lock_enter();
    pt_lock_leave();
    counting = false;
    pools = seen[0].mutex;
    ck_assert(pools != NULL && seen[0].taken == 1 && seen[1].mutex == NULL);
}

static void *try_it(void *mutex)
{
    begin_count();
    REQUIRE(pthread_mutex_trylock(mutex) == EBUSY);
    counting = false;
    REQUIRE(*taken(mutex) == 0);
    return NULL;
}

START_TEST(the_count_is_right)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    unsigned all;
    start(false);
    begin_count();
    pthread_mutex_lock(&mutex);
    counting = false;
    pthread_t other;
    ck_assert_int_eq(pthread_create(&other, NULL, try_it, &mutex), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    counting = true;
    pthread_mutex_unlock(&mutex);
    REQUIRE(pthread_mutex_trylock(&mutex) == 0);
    pt_lock_enter_noting();
    pt_lock_leave();
    ck_assert(end_count(&all) == 1 && all == 3);
}
END_TEST

/* ---- a block that is reused; through each door as the door makes it ---- */

static const size_t sizes[] = {100, 8 * KIB, 16 * KIB, 100 * KIB, 3 * MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0], ROUNDS = 20 };

static const char door;

static struct pt_request request(size_t bytes, enum pt_door from, bool tensor)
{
    return (struct pt_request){.manager = pt_managers_of(&door, true),
                               .bytes = bytes,
                               .dtype = PT_DTYPE_NONE,
                               .door = from,
                               .tensor = tensor,
                               .caller = __builtin_return_address(0)};
}

static void require_reused(uint64_t blocks)
{
    ck_assert_uint_ge(stats().reused_blocks, blocks);
    ck_assert(!pt_magazine_any());
}

START_TEST(once_for_a_raw_block)
{
    start(_i == 0);
    for (unsigned s = 0; s < SIZES; s++) {
        uint64_t reused = stats().reused_blocks;
        small = sizes[s] <= PT_ARENA_SLAB_MOST;
        for (unsigned i = 0; i <= ROUNDS; i++) {
            pintensor_block b;
            first = i < 2;
            REQUIRE_ONCE(b = alloc(sizes[s]));
            if (i % 2 == 0) {
                REQUIRE_ONCE(release(b));
            } else {
                REQUIRE_ONCE(REQUIRE(pintensor_free_block(manager, &b) == 0));
            }
        }
        require_reused(reused + ROUNDS);
    }
}
END_TEST

static void deepspeed_makes(size_t bytes, struct pt_block *out)
{
    struct pt_request q = request(bytes, PT_DOOR_DEEPSPEED, true);
    REQUIRE(pt_block_alloc(&q, out) == 0);
}

static void deepspeed_frees(const struct pt_block *b)
{
    REQUIRE(pt_block_release(pt_managers_of(&door, false), b->base, __builtin_return_address(0)) == 0);
}

/* free() by DeepSpeed's finalizer, and then the deleter; or that alone. */
START_TEST(once_for_each_call_of_deepspeeds_door)
{
    start(_i == 0);
    for (unsigned s = 0; s < SIZES; s++) {
        uint64_t reused = stats().reused_blocks;
        small = sizes[s] <= PT_ARENA_SLAB_MOST;
        for (unsigned i = 0; i <= ROUNDS; i++) {
            struct pt_block b;
            first = i < 2;
            REQUIRE_ONCE(deepspeed_makes(sizes[s], &b));
            REQUIRE(pintensor_is_managed(b.base, sizes[s]));
            if (i % 2 == 0) {
                REQUIRE_ONCE(deepspeed_frees(&b));
            }
            REQUIRE_ONCE(pt_block_drop(&b));
        }
        require_reused(reused + ROUNDS);
        ck_assert_uint_eq(stats().live_blocks, 0);
    }
}
END_TEST

/* preload/torch.c: alloc() and drop(). */
static void torch_makes(size_t bytes, struct pt_block *out)
{
    struct pt_request q = request(bytes, PT_DOOR_TORCH, false);
    REQUIRE(pt_block_alloc(&q, out) == 0);
    bool registered = (pt_table_record(out->number)->flags & PT_REGISTERED) != 0;
    REQUIRE((registered || pt_registration_ensure(out->base, bytes)) == (fake_count != NULL));
}

static void torch_drops(void *data)
{
    struct pt_found f = pt_table_find(data);
    struct pt_block b = {.base = data, .number = f.number, .generation = f.generation};
    REQUIRE(f.base == (uintptr_t)data && pt_block_end(&b));
}

START_TEST(once_for_each_call_of_torchs_door)
{
    start(_i == 0);
    for (unsigned s = 0; s < SIZES; s++) {
        uint64_t reused = stats().reused_blocks;
        small = sizes[s] <= PT_ARENA_SLAB_MOST;
        for (unsigned i = 0; i <= ROUNDS; i++) {
            struct pt_block b;
            first = i < 2;
            REQUIRE_ONCE(torch_makes(sizes[s], &b));
            REQUIRE_ONCE(torch_drops(b.base));
        }
        require_reused(reused + ROUNDS);
        ck_assert_uint_eq(stats().live_blocks, 0);
    }
}
END_TEST

/* A part of a larger one that is free, and what is left of it. */
START_TEST(once_where_parts_are_cut_and_joined)
{
    start(_i == 0);
    pintensor_block stays = alloc(16 * MIB), b[8];
    release(alloc(8 * MIB));
    for (unsigned i = 0; i <= ROUNDS; i++) {
        first = i < 2;
        for (unsigned j = 0; j < 8; j++) {
            REQUIRE_ONCE(b[j] = alloc((j + 1) * 200 * KIB));
        }
        for (unsigned j = 0; j < 8; j++) {
            REQUIRE_ONCE(release(b[(j * 3 + i) % 8]));
        }
    }
    release(stays);
}
END_TEST

/* The driver that stands in has a lock of its own. */
START_TEST(once_for_a_drop_while_a_stream_uses_the_block)
{
    start(true);
    void *stream = fake_stream(1);
    static char elsewhere[100];
    struct pt_block b;
    for (unsigned i = 0; i < ROUNDS; i++) {
        torch_makes(100 * KIB, &b);
        fake_copy(elsewhere, b.base, sizeof elsewhere, 1, stream);
        ck_assert_int_eq(pintensor_record_stream(b.base, stream), 0);
        begin_count();
        torch_drops(b.base);
        unsigned all, times = end_count(&all);
        ck_assert_uint_eq(times, 1);
    }
    fake_run(stream);
}
END_TEST

/* Asking whether memory is ours takes none at all. */
START_TEST(questions_take_no_lock)
{
    start(_i == 0);
    pintensor_block b = alloc(100 * KIB), tiny = alloc(100);
    unsigned all;
    begin_count();
    REQUIRE(pintensor_is_managed(b.data, b.bytes) && pintensor_is_managed(tiny.data, 100));
    REQUIRE(pt_registration_covers(b.data) == (_i == 0) && !pintensor_is_managed(&b, 1));
    REQUIRE(pt_managers_of(&door, false) == 0);
    end_count(&all);
    ck_assert_uint_eq(all, 0);
    (void)pt_managers_of(&door, true);
    begin_count();
    REQUIRE(pt_managers_of(&door, true) == pt_managers_of(&door, false));
    end_count(&all);
    ck_assert_uint_eq(all, 0);
}
END_TEST

int main(void)
{
    need_lockable(32 * MIB);
    TCase *tests = tcase_create("locks");
    tcase_add_test(tests, the_count_is_right);
    tcase_add_loop_test(tests, once_for_a_raw_block, 0, 2);
    tcase_add_loop_test(tests, once_for_each_call_of_deepspeeds_door, 0, 2);
    tcase_add_loop_test(tests, once_for_each_call_of_torchs_door, 0, 2);
    tcase_add_loop_test(tests, once_where_parts_are_cut_and_joined, 0, 2);
    tcase_add_test(tests, once_for_a_drop_while_a_stream_uses_the_block);
    tcase_add_loop_test(tests, questions_take_no_lock, 0, 2);
    return suite_run("locks", tests);
}
