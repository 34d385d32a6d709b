/* How often the pool's lock is taken: once for a block that is there, and once for each call that gives back, through each of
 * the doors. This program's own pthread_mutex_lock() counts. */
#include "blocks.h"
#include "fake.h"
#include "life/managers.h"
#include "pool/lock.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_mutex_t *pools; /* found by taking it once */
static bool counting, learning;
static unsigned taken;

static void note(pthread_mutex_t *mutex)
{
    if (learning) {
        pools = mutex;
    }
    taken += counting && mutex == pools;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    }
    note(mutex);
    return real(mutex);
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_trylock");
    }
    note(mutex);
    return real(mutex);
}

static void start(bool device)
{
    if (device) {
        fake_begin();
    }
    manager = pintensor_manager_create();
    learning = true;
    pt_lock_enter();
    learning = false;
    pt_lock_leave();
    ck_assert_ptr_nonnull(pools);
}

/* What one call takes; the block it is for is there: one of its size was given back before. */
#define TAKES(count, call)                                                                                             \
    do {                                                                                                               \
        taken = 0;                                                                                                     \
        counting = true;                                                                                               \
        call;                                                                                                          \
        counting = false;                                                                                              \
        ck_assert_msg(taken == (count), "%s takes the lock %u times", #call, taken);                                   \
    } while (0)

static const size_t sizes[] = {100, 8 * KIB, 100 * KIB, MIB, 5 * MIB};

START_TEST(a_raw_block)
{
    start(_i >= 5);
    pintensor_block keep = alloc(16 * MIB), b = alloc(sizes[_i % 5]);
    release(b);
    TAKES(1, b = alloc(sizes[_i % 5]));
    TAKES(1, release(b));
    release(keep);
}
END_TEST

/* As DeepSpeed's door: freed while the tensor lives, then dropped; or dropped alone. */
START_TEST(a_block_under_a_tensor)
{
    start(_i >= 5);
    pintensor_block keep = alloc(16 * MIB);
    struct pt_block b = alloc_tensor(sizes[_i % 5]);
    pt_block_drop(&b);
    TAKES(1, b = alloc_tensor(sizes[_i % 5]));
    TAKES(1, (void)pt_block_release((uint32_t)manager, b.base, NULL));
    TAKES(1, pt_block_drop(&b));
    b = alloc_tensor(sizes[_i % 5]);
    TAKES(1, pt_block_drop(&b));
    release(keep);
}
END_TEST

/* As torch's door, whose manager is found by its key. */
START_TEST(a_block_of_torch)
{
    static const char key;
    start(_i >= 5);
    pintensor_block keep = alloc(16 * MIB);
    struct pt_request q = {.bytes = sizes[_i % 5], .dtype = PT_DTYPE_NONE, .door = PT_DOOR_TORCH};
    struct pt_block b;
    q.manager = pt_managers_of(&key, true);
    ck_assert_int_eq(pt_block_alloc(&q, &b), 0);
    ck_assert(pt_block_end(&b));
    TAKES(0, q.manager = pt_managers_of(&key, true));
    TAKES(1, (void)pt_block_alloc(&q, &b));
    TAKES(1, (void)pt_block_end(&b));
    release(keep);
}
END_TEST

int main(void)
{
    need_lockable(64 * MIB);
    TCase *tests = tcase_create("locks");
    tcase_add_loop_test(tests, a_raw_block, 0, 10);
    tcase_add_loop_test(tests, a_block_under_a_tensor, 0, 10);
    tcase_add_loop_test(tests, a_block_of_torch, 0, 10);
    return suite_run("locks", tests);
}
