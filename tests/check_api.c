#include "pintensor.h"
#include "suite.h"

#include <pthread.h>
#include <stdint.h>

/* The call fails with this code, and says so in words that begin with its text. */
#define REFUSED(call, code, details)                                                                                   \
    do {                                                                                                               \
        ck_assert_int_eq((call), PINTENSOR_E##code);                                                                   \
        ck_assert_msg(strncmp(pintensor_last_error(), pintensor_strerror(PINTENSOR_E##code),                           \
                              strlen(pintensor_strerror(PINTENSOR_E##code))) == 0 &&                                   \
                          strstr(pintensor_last_error(), details) != NULL,                                             \
                      "%s", pintensor_last_error());                                                                   \
    } while (0)

START_TEST(every_code_has_a_text_of_its_own)
{
    static const int codes[] = {
#define X(name, code, text) PINTENSOR_E##name,
        PINTENSOR_ERRORS(X)
#undef X
    };
    enum { COUNT = sizeof codes / sizeof codes[0] };
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(codes[i], -1 - i); /* codes never change */
        const char *text = pintensor_strerror(codes[i]);
        ck_assert_str_ne(text, "");
        ck_assert_str_ne(text, "unknown error");
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(text, pintensor_strerror(codes[k]));
        }
    }
    ck_assert_str_eq(pintensor_strerror(0), "no error");
    ck_assert_str_eq(pintensor_strerror(1), "unknown error");
    ck_assert_str_eq(pintensor_strerror(-1 - COUNT), "unknown error");
}
END_TEST

START_TEST(before_the_first_block)
{
    ck_assert_str_eq(pintensor_last_error(), "");
    ck_assert_str_eq(pintensor_version(), PINTENSOR_VERSION);
    pintensor_stats s, zero = {0};
    memset(&s, 0xff, sizeof s);
    pintensor_get_stats(&s, sizeof s);
    ck_assert_mem_eq(&s, &zero, sizeof s);
    ck_assert_uint_eq(pintensor_trim(), 0);
    pintensor_mark();
    ck_assert(!pintensor_is_managed(&s, 1));
    ck_assert(!pintensor_is_managed(NULL, 0));
    REFUSED(pintensor_report(STDERR_FILENO), OFF, "nothing was pinned");
    REFUSED(pintensor_free(1, &s), NOT_OURS, "");
    pintensor_manager_destroy(0);
    pintensor_manager_destroy(17);
}
END_TEST

START_TEST(blocks)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block b = {&b, 1, 1};
    REFUSED(pintensor_alloc(m, 1, NULL), INVALID, "block is NULL");
    REFUSED(pintensor_alloc(0, 1, &b), INVALID, "manager is 0");
    REFUSED(pintensor_free_block(m, NULL), INVALID, "block is NULL");
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 47};
    for (unsigned i = 0; i < 3; i++) {
        b.data = &b;
        ck_assert_int_eq(pintensor_alloc(m, sizes[i], &b), PINTENSOR_ELIMIT);
        ck_assert(b.data == NULL && b.bytes == 0);
        ck_assert_ptr_nonnull(strstr(pintensor_last_error(), "cannot lock"));
    }
    ck_assert_int_eq(pintensor_alloc(m, 0, &b), 0);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(pintensor_free_block(m, &b), 0);
    ck_assert_int_eq(pintensor_alloc(m, 100, &b), 0);
    ck_assert_uint_eq(b.bytes, 100);
    REFUSED(pintensor_free(m, (char *)b.data + 1), NOT_OURS, "nothing was freed");
    ck_assert_int_eq(pintensor_free_block(m, &b), 0);
    pintensor_block other;
    ck_assert_int_eq(pintensor_alloc(m, 100, &other), 0);
    ck_assert_ptr_eq(other.data, b.data);
    REFUSED(pintensor_free_block(m, &b), STALE, "");
    ck_assert_int_eq(pintensor_free(m, other.data), 0);
}
END_TEST

/* Whole numbers are looked at: half of one is not enough. */
START_TEST(managers_that_are_none)
{
    pintensor_manager m = pintensor_manager_create(), gone = pintensor_manager_create();
    pintensor_block b, other = {&other, 1, 1};
    pintensor_tensor t = &t;
    ck_assert_int_eq(pintensor_alloc(m, 100, &b), 0);
    pintensor_manager_destroy(gone);
    const pintensor_manager none[] = {gone, m + ((uint64_t)1 << 32), m + 65536, m + 1000, UINT64_MAX, UINT32_MAX};
    for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++) {
        REFUSED(pintensor_alloc(none[i], 100, &other), INVALID,
                "it was destroyed, or pintensor_manager_create() never made it");
        ck_assert_ptr_eq(other.data, &other);
        REFUSED(pintensor_tensor_alloc(none[i], 1, 6, &t), INVALID, "Make a new one");
        ck_assert_ptr_eq(t, &t);
        REFUSED(pintensor_free(none[i], b.data), NOT_OURS, "There is no such manager");
        REFUSED(pintensor_free_block(none[i], &b), NOT_OURS, "Free blocks with the manager that made them");
        pintensor_manager_destroy(none[i]);
        ck_assert_ptr_nonnull(strstr(pintensor_last_error(), "Destroy each once"));
        ck_assert(pintensor_is_managed(b.data, 100));
    }
    ck_assert_int_eq(pintensor_free(m, b.data), 0);
}
END_TEST

START_TEST(as_many_managers_as_can_be_told_apart)
{
    pintensor_manager first = pintensor_manager_create(), last = first, m;
    unsigned count = 1;
    for (; (m = pintensor_manager_create()) != 0; count++) {
        REQUIRE(m != last && count < 65536);
        last = m;
    }
    ck_assert_uint_eq(count, 65536);
    pintensor_block b;
    ck_assert_int_eq(pintensor_alloc(first, 100, &b), 0);
    pintensor_manager_destroy(first);
    m = pintensor_manager_create();
    ck_assert(m != 0 && m != first);
    REFUSED(pintensor_alloc(first, 100, &b), INVALID, "");
    ck_assert_int_eq(pintensor_alloc(m, 100, &b), 0);
}
END_TEST

START_TEST(tensors_without_torch)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_tensor t = &t;
    REFUSED(pintensor_tensor_alloc(m, 1, 6, NULL), INVALID, "tensor is NULL");
    REFUSED(pintensor_tensor_alloc(0, 1, 6, &t), INVALID, "manager is 0");
    REFUSED(pintensor_tensor_alloc(m, 1, 6, &t), NO_TORCH, "");
    ck_assert_ptr_null(t);
    REFUSED(pintensor_tensor_free(m, NULL), INVALID, "tensor is NULL");
    ck_assert(!pintensor_tensor_is_managed(NULL));
}
END_TEST

START_TEST(switched_off)
{
    setenv("PINTENSOR_ENABLE", "off", 1);
    ck_assert_uint_eq(pintensor_manager_create(), 0);
    pintensor_block b;
    REFUSED(pintensor_alloc(1, 100, &b), OFF, "");
    pintensor_tensor t;
    ck_assert_int_lt(pintensor_tensor_alloc(1, 1, 6, &t), 0);
    REFUSED(pintensor_report(STDERR_FILENO), OFF, "");
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_int_eq(pintensor_trim(), 0);
}
END_TEST

START_TEST(stats_for_older_and_newer_callers)
{
    pintensor_block b;
    ck_assert_int_eq(pintensor_alloc(pintensor_manager_create(), 100, &b), 0);
    struct {
        pintensor_stats s;
        uint64_t later[4];
    } both;
    memset(&both, 0xff, sizeof both);
    pintensor_get_stats(&both.s, sizeof both);
    ck_assert(both.s.live_blocks == 1 && both.s.live_bytes == 100);
    ck_assert(both.later[0] == 0 && both.later[3] == 0);
    memset(&both, 0xff, sizeof both);
    pintensor_get_stats(&both.s, 16);
    ck_assert(both.s.live_blocks == 1 && both.s.live_bytes == 100 && both.s.live_locked == UINT64_MAX);
}
END_TEST

START_TEST(marks)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block a, b;
    pintensor_stats s;
    ck_assert_int_eq(pintensor_alloc(m, 300 * KIB, &a), 0);
    ck_assert_int_eq(pintensor_alloc(m, 100 * KIB, &b), 0);
    ck_assert_int_eq(pintensor_free(m, a.data), 0);
    pintensor_get_stats(&s, sizeof s);
    ck_assert(s.mark_peak_bytes == 400 * KIB && s.peak_bytes == 400 * KIB);
    pintensor_mark();
    pintensor_get_stats(&s, sizeof s);
    ck_assert(s.mark_peak_bytes == 100 * KIB && s.peak_bytes == 400 * KIB);
    ck_assert_int_eq(pintensor_alloc(m, 200 * KIB, &a), 0); /* below the peak, above the mark's */
    ck_assert_int_eq(pintensor_free(m, a.data), 0);
    pintensor_get_stats(&s, sizeof s);
    ck_assert(s.mark_peak_bytes == 300 * KIB && s.peak_bytes == 400 * KIB && s.live_bytes == 100 * KIB);
}
END_TEST

START_TEST(reports)
{
    pintensor_manager m = pintensor_manager_create();
    pintensor_block b;
    ck_assert_int_eq(pintensor_alloc(m, 100, &b), 0);
    char text[4096];
    for (unsigned round = 0; round < 2; round++) { /* as often as one likes */
        int fds[2];
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(pintensor_report(fds[1]), 0);
        ssize_t n = read(fds[0], text, sizeof text - 1);
        text[n] = '\0';
        ck_assert_msg(strstr(text, "HELD       100 B in 1 block") != NULL, "%s", text);
        ck_assert_ptr_nonnull(strstr(text, "alive now"));
    }
    REFUSED(pintensor_report(open("/dev/full", O_WRONLY)), IO, "");
    REFUSED(pintensor_report(999), IO, "");
    REFUSED(pintensor_report(-1), IO, "");
}
END_TEST

static void *fail_elsewhere(void *unused)
{
    ck_assert_str_eq(pintensor_last_error(), "");
    REFUSED(pintensor_alloc(0, 1, &(pintensor_block){0}), INVALID, "manager is 0");
    return unused;
}

START_TEST(errors_are_a_threads_own)
{
    REFUSED(pintensor_alloc(1, 1, NULL), INVALID, "block is NULL");
    pthread_t t;
    pthread_create(&t, NULL, fail_elsewhere, NULL);
    pthread_join(t, NULL);
    ck_assert_ptr_nonnull(strstr(pintensor_last_error(), "block is NULL"));
}
END_TEST

int main(void)
{
    need_lockable(MIB);
    TCase *tests = tcase_create("api");
    tcase_add_test(tests, every_code_has_a_text_of_its_own);
    tcase_add_test(tests, before_the_first_block);
    tcase_add_test(tests, blocks);
    tcase_add_test(tests, managers_that_are_none);
    tcase_add_test(tests, as_many_managers_as_can_be_told_apart);
    tcase_add_test(tests, tensors_without_torch);
    tcase_add_test(tests, switched_off);
    tcase_add_test(tests, stats_for_older_and_newer_callers);
    tcase_add_test(tests, marks);
    tcase_add_test(tests, reports);
    tcase_add_test(tests, errors_are_a_threads_own);
    return suite_run("api", tests);
}
