/* The interpreter's memory as trace/frames reads it: of each version, and where it is not what it is taken for. */
#include "fake_python.h"
#include "memory/owner.h"
#include "trace/code.h"
#include "trace/frames.h"

#define MANY (PT_FRAMES_MOST + 12)

static struct python_object *code[MANY];
static int last[MANY];

static void begin(const char *version)
{
    REQUIRE(pt_owner_begin() == PT_OWNER_YOURS);
    pt_owner_done(true);
    python_is(version);
    python.runs = python.state;
    pt_python_init();
    pt_frames_init();
    pt_code_init();
    for (unsigned i = 0; i < MANY; i++) {
        code[i] = python_make_code("train.py", "step");
        last[i] = 2 * (int)i;
    }
}

/* As a request that looks at its stack in full: the stack has so many frames. */
static void learn_from(unsigned depth, uintptr_t near)
{
    struct pt_python_frame frames[PT_FRAMES_MOST];
    uintptr_t at[PT_FRAMES_MOST];
    python_stack(depth, code, last);
    unsigned count = pt_python_frames(python.state, frames, at, PT_FRAMES_MOST);
    pt_frames_learn(python.state, near, frames, at, count);
}

static void learn(unsigned depth)
{
    learn_from(depth, (uintptr_t)&python); /* where 3.11 and 3.12 have something on the C stack */
}

static uint64_t key(void)
{
    uint64_t k = 1;
    return pt_frames_key(&k) ? k : 0;
}

static const char *const versions[] = {"3.9.2", "3.10.4", "3.11.2", "3.12.1", "3.13.0", "3.14.0", "3.15.0"};

START_TEST(equal_stacks_have_equal_keys)
{
    begin(versions[_i]);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_UNKNOWN);
    ck_assert_uint_eq(key(), 0);
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN); /* two frames that differ */
    uint64_t first = key();
    ck_assert_uint_ne(first, 0);
    last[0] += 2;
    learn(2);
    uint64_t second = key();
    ck_assert_uint_ne(second, first); /* another instruction */
    last[0] -= 2;
    learn(3);
    ck_assert_uint_ne(key(), first); /* another caller */
    learn(2);
    ck_assert_uint_eq(key(), first);
    for (unsigned depth = PT_FRAMES_MOST - 1; depth < MANY; depth++) {
        learn(depth); /* more than the API is asked for */
        ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
    }
    ck_assert_uint_ne(key(), first);
    atomic_fetch_add(pt_code_age((uintptr_t)code[0]), 1); /* other code at that place */
    learn(2);
    ck_assert_uint_ne(key(), first);
    python.thread_state = NULL;
    ck_assert_uint_eq(key(), 0);
    pt_python_gone();
    python.thread_state = python.state;
    ck_assert_uint_eq(key(), 0);
}
END_TEST

START_TEST(one_line_alone_proves_nothing)
{
    begin("3.13.0");
    for (unsigned i = 0; i < 3; i++) {
        learn(1);
        ck_assert_int_eq(pt_frames_state(), PT_FRAMES_ON_TRIAL);
        ck_assert_uint_ne(key(), 0);
    }
    learn(0); /* no frames at all */
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_ON_TRIAL);
    last[0] += 2; /* the same code, further on */
    learn(1);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
}
END_TEST

START_TEST(of_a_version_that_nobody_tried_one_frame_says_nothing)
{
    begin("3.15.0");
    learn(1);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_UNKNOWN);
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
}
END_TEST

START_TEST(no_version_that_is_known)
{
    static const char *const others[] = {"3.8.1", "4.0"};
    begin(others[_i]);
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_OFF);
    ck_assert_uint_eq(key(), 0);
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_OFF);
}
END_TEST

/* Each of the first looks comes to nothing: in the end there are none any more. */
static void never_learns(void (*spoil)(void))
{
    struct pt_python_frame frames[PT_FRAMES_MOST];
    uintptr_t at[PT_FRAMES_MOST];
    unsigned looks = 0;
    for (; pt_frames_state() == PT_FRAMES_UNKNOWN; looks++) {
        REQUIRE(looks < 1000);
        python_stack(3, code, last);
        unsigned count = pt_python_frames(python.state, frames, at, PT_FRAMES_MOST);
        spoil();
        pt_frames_learn(python.state, (uintptr_t)&python, frames, at, count);
    }
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_OFF);
    ck_assert_uint_gt(looks, 10);
}

static void top_elsewhere(void)
{
    memset(python.through, 0, sizeof python.through);
    python.state[PYTHON_TOP] = python_minor() == 11 || python_minor() == 12 ? (uintptr_t)python.through : 0;
}

static void other_code(void)
{
    python_place(1)[python_layout().code] = (uintptr_t)code[MANY - 1];
}

static void other_place(void)
{
    python_place(1)[python_layout().place] += 6;
}

static void place_before_the_code(void)
{
    python_place(0)[python_layout().place] = 99;
}

static void ends_early(void)
{
    python_place(0)[python_layout().previous] = 0;
}

static void goes_round(void)
{
    python_place(2)[python_layout().previous] = (uintptr_t)python_place(0);
}

static void (*const spoils[])(void) = {top_elsewhere, other_code, other_place,
                                       ends_early,    goes_round, place_before_the_code};

enum { SPOILS = sizeof spoils / sizeof spoils[0], VERSIONS = sizeof versions / sizeof versions[0] };

START_TEST(memory_that_says_something_else_is_not_believed)
{
    begin(versions[_i % VERSIONS]);
    never_learns(spoils[_i / VERSIONS]);
}
END_TEST

START_TEST(one_contradiction_is_the_end_of_it)
{
    struct pt_python_frame frames[PT_FRAMES_MOST];
    uintptr_t at[PT_FRAMES_MOST];
    begin(versions[_i % VERSIONS]);
    learn(3);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
    python_stack(3, code, last);
    unsigned count = pt_python_frames(python.state, frames, at, PT_FRAMES_MOST);
    spoils[_i / VERSIONS]();
    pt_frames_learn(python.state, (uintptr_t)&python, frames, at, count);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_OFF);
    ck_assert_uint_eq(key(), 0);
}
END_TEST

/* Nothing is read but what the API named and what lies on the C stack. */
START_TEST(what_may_not_be_there_is_not_read)
{
    static const char *const all[] = {"3.11.2", "3.12.1", "3.13.0"};
    char *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct pt_python_frame frames[4];
    uintptr_t at[4];
    begin(all[_i]);
    python_stack(2, code, last);
    for (unsigned i = 2; i < 20; i++) { /* what else is in a thread's state leads anywhere */
        python.state[i] = i == PYTHON_TOP ? python.state[i] : (uintptr_t)hole;
    }
    python_place(0)[python_layout().previous] = (uintptr_t)hole;
    unsigned count = pt_python_frames(python.state, frames, at, 4);
    pt_frames_learn(python.state, 0, frames, at, count);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_UNKNOWN);
}
END_TEST

/* A call from C into Python has a frame that the API does not show. */
START_TEST(frames_of_the_interpreters_own_are_passed_over)
{
    uintptr_t own[16] = {0};
    struct pt_python_frame frames[4];
    uintptr_t at[4];
    begin("3.13.0");
    for (unsigned i = 0; i < 2; i++) {
        python_stack(2, code, last);
        own[1] = python.raw[0][1];
        python.raw[0][1] = (uintptr_t)own;
        unsigned count = pt_python_frames(python.state, frames, at, 4);
        pt_frames_learn(python.state, (uintptr_t)frames < (uintptr_t)own ? (uintptr_t)frames : (uintptr_t)own, frames,
                        at, count);
        ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
    }
    ck_assert_uint_ne(key(), 0);
}
END_TEST

/* Nothing of it has run: where its instructions begin is not told by that. */
START_TEST(a_frame_that_has_not_begun)
{
    begin("3.13.0");
    last[0] = -2;
    python_stack(2, code, last);
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
    last[0] = 8;
    learn(2);
    ck_assert_int_eq(pt_frames_state(), PT_FRAMES_PROVEN);
}
END_TEST

/* ---- code ---- */

START_TEST(code_that_ends_gives_its_name_up)
{
    begin("3.12.1");
    struct pt_python_frame f = {.code = code[0]};
    ck_assert(pt_code_watch(&f, 1));
    ck_assert(pt_code_watch(&f, 1)); /* it is already */
    uint64_t before = pt_code_name((uintptr_t)code[0]);
    uintptr_t at = (uintptr_t)code[0];
    Py_DecRef(code[0]);
    ck_assert_uint_ne(pt_code_name(at), before);
}
END_TEST

START_TEST(code_that_cannot_be_watched)
{
    begin("3.12.1");
    struct pt_python_frame f = {.code = code[0]};
    uint64_t before = pt_code_name((uintptr_t)code[0]);
    python.calls = 0;
    python.fails_at = 1;
    ck_assert(!pt_code_watch(&f, 1));
    ck_assert_uint_ne(pt_code_name((uintptr_t)code[0]), before);
    ck_assert(pt_code_watch(&f, 1)); /* the next time it is tried again */
    pt_code_init();                  /* a forked child watches all once more */
    ck_assert(pt_code_watch(&f, 1));
}
END_TEST

/* As many as there is room for, at any places, and those that end leave no gap before others. */
START_TEST(more_code_than_is_watched)
{
    enum { MORE = PT_CODE_MOST + 100 };
    static struct python_object *all[MORE];
    begin("3.12.1");
    unsigned unwatched = 0;
    for (unsigned i = 0; i < MORE; i++) {
        struct pt_python_frame f = {.code = all[i] = python_make_code("train.py", "step")};
        unwatched += !pt_code_watch(&f, 1);
    }
    ck_assert_uint_eq(unwatched, 100);
    for (unsigned i = 0; i < PT_CODE_MOST; i += 2) {
        Py_DecRef(all[i]);
    }
    long weak = python.alive;
    for (unsigned i = 1; i < PT_CODE_MOST; i += 2) {
        struct pt_python_frame f = {.code = all[i]};
        REQUIRE(pt_code_watch(&f, 1));
    }
    ck_assert_int_eq(python.alive, weak); /* they were found: none is watched twice */
    for (unsigned i = PT_CODE_MOST; i < MORE; i++) {
        struct pt_python_frame f = {.code = all[i]};
        REQUIRE(pt_code_watch(&f, 1)); /* there is room again */
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("frames");
    tcase_add_loop_test(tests, equal_stacks_have_equal_keys, 0, VERSIONS);
    tcase_add_test(tests, one_line_alone_proves_nothing);
    tcase_add_test(tests, of_a_version_that_nobody_tried_one_frame_says_nothing);
    tcase_add_loop_test(tests, no_version_that_is_known, 0, 2);
    tcase_add_loop_test(tests, memory_that_says_something_else_is_not_believed, 0, SPOILS * VERSIONS);
    tcase_add_loop_test(tests, one_contradiction_is_the_end_of_it, 0, SPOILS * VERSIONS);
    tcase_add_loop_test(tests, what_may_not_be_there_is_not_read, 0, 3);
    tcase_add_test(tests, frames_of_the_interpreters_own_are_passed_over);
    tcase_add_test(tests, a_frame_that_has_not_begun);
    tcase_add_test(tests, code_that_ends_gives_its_name_up);
    tcase_add_test(tests, code_that_cannot_be_watched);
    tcase_add_test(tests, more_code_than_is_watched);
    return suite_run("frames", tests);
}
