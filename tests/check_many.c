/* Hundreds of thousands of live blocks: what a sharded optimizer state looks like, and what the kernel's limit of
 * 65,530 mappings is met by. */
#include "pintensor.h"
#include "suite.h"

#include <stdint.h>

static void live_at_once(unsigned blocks, size_t bytes)
{
    pintensor_manager manager = pintensor_manager_create();
    char **at = calloc(blocks, sizeof *at);
    for (unsigned i = 0; i < blocks; i++) {
        pintensor_block b;
        if (pintensor_alloc(manager, bytes, &b) != 0) {
            ck_abort_msg("block %u: %s", i, pintensor_last_error());
        }
        at[i] = b.data;
    }
    ck_assert_uint_ge(vmlck(), blocks * bytes);
    ck_assert_uint_lt(mappings(), 60000);
    for (unsigned i = 0; i < blocks; i++) {
        REQUIRE(pintensor_is_managed(at[i], bytes) && pintensor_is_managed(at[i] + bytes - 1, 1));
        REQUIRE(!pintensor_is_managed(at[i], bytes + 1));
    }
    for (unsigned i = 0; i < blocks; i += 2) { /* with every other one gone, holes are the danger */
        REQUIRE(pintensor_free(manager, at[i]) == 0);
    }
    pintensor_trim();
    ck_assert_uint_lt(mappings(), 60000);
    for (unsigned i = 1; i < blocks; i += 2) {
        REQUIRE(!pintensor_is_managed(at[i - 1], 1) && pintensor_is_managed(at[i], bytes));
        REQUIRE(pintensor_free(manager, at[i]) == 0);
    }
    pintensor_trim();
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    ck_assert(s.live_blocks == 0 && s.live_bytes == 0 && s.misuses == 0);
    ck_assert_uint_eq(s.locked_bytes, vmlck());
    ck_assert_uint_eq(vmlck(), 0);
    free(at);
}

START_TEST(two_hundred_thousand_of_20_KiB)
{
    live_at_once(200000, 20 * KIB);
}
END_TEST

START_TEST(a_million_of_64_bytes)
{
    live_at_once(1000000, 64);
}
END_TEST

int main(void)
{
    need_lockable((size_t)200000 * 24 * KIB);
    TCase *tests = tcase_create("many");
    tcase_add_test(tests, two_hundred_thousand_of_20_KiB);
    tcase_add_test(tests, a_million_of_64_bytes);
    return suite_run("many", tests);
}
