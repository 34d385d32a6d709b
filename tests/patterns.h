/* Programs that pin memory, in short: what a program does with some lines of its own, and which of them lose memory. A
 * line is a number. */
#ifndef TESTS_PATTERNS_H
#define TESTS_PATTERNS_H

#include "suite.h"

/* What a program can do; check_verdict.c plays it against the ledger. */
void keep(uint32_t line, size_t bytes);  /* allocates, and remembers it */
void brief(uint32_t line, size_t bytes); /* allocates, and frees it at once */
void drop_oldest(uint32_t line);
void drop_any(uint32_t line);
void drop_all(uint32_t line);
size_t kept(uint32_t line); /* how many are remembered */
void work(double ms);       /* computes: some time passes, a fifth more or less */
unsigned draw(unsigned n);  /* a number below n, another one with each seed */

enum { A = 1, B, C, OTHER, ANOTHER, PATTERN_LINES }; /* site 0 stands for all that are unknown */
#define LEAKS(line) (1u << (line))
#define CLEAN       0u

#define REPEAT_AS(i, n)    for (unsigned i = 0; i < (n); i++)
#define JOINED(a, b)       a##b
#define REPEAT_UP_TO(c, n) REPEAT_AS(JOINED(i, c), n)
#define REPEAT(n)          REPEAT_UP_TO(__COUNTER__, n)

/* A step of a program whose other lines pin too. */
static void step(double ms)
{
    brief(OTHER, 256 * KIB);
    work(ms / 2);
    brief(ANOTHER, 64 * KIB);
    work(ms / 2);
}

#include "patterns_clean.h"
#include "patterns_leak.h"

/* clang-format off */
#define PATTERN(name, leaks) {#name, name, leaks}
/* clang-format on */
static const struct pattern {
    const char *name;
    void (*run)(void);
    unsigned leaks; /* a bit a line */
} patterns[] = {
    PATTERN(leak_the_only_line, LEAKS(A)),
    PATTERN(leak_long, LEAKS(A)),
    PATTERN(leak_six_steps, LEAKS(A)),
    PATTERN(leak_five_short_steps, LEAKS(A)),
    PATTERN(leak_in_a_tenth_of_a_second, LEAKS(A)),
    PATTERN(leak_quick_steps_alone, LEAKS(A)),
    PATTERN(leak_a_hundred_a_step, LEAKS(A)),
    PATTERN(leak_every_tenth, LEAKS(A)),
    PATTERN(leak_one_in_twenty_at_random, LEAKS(A)),
    PATTERN(leak_at_random_steps, LEAKS(A)),
    PATTERN(leak_in_bursts_between_use, LEAKS(A)),
    PATTERN(leak_in_bursts_and_rests, LEAKS(A)),
    PATTERN(leak_an_epoch_between_use, LEAKS(A)),
    PATTERN(leak_an_epoch, LEAKS(A)),
    PATTERN(leak_then_short_evaluation, LEAKS(A)),
    PATTERN(leak_then_long_evaluation, LEAKS(A)),
    PATTERN(leak_then_evaluation_without_pinning, LEAKS(A)),
    PATTERN(leak_with_evaluation_each_epoch, LEAKS(A)),
    PATTERN(leak_ends_soon_after_evaluation, LEAKS(A)),
    PATTERN(leak_in_the_last_evaluation, LEAKS(A)),
    PATTERN(leak_under_a_prefetch_queue, LEAKS(A)),
    PATTERN(leak_under_an_early_spike, LEAKS(A)),
    PATTERN(leak_after_warm_up, LEAKS(A)),
    PATTERN(leak_begins_late, LEAKS(A)),
    PATTERN(leak_of_many_sizes, LEAKS(A)),
    PATTERN(leak_of_small_blocks_in_a_busy_thread, LEAKS(A)),
    PATTERN(leak_at_two_lines, LEAKS(A) | LEAKS(B)),
    PATTERN(leak_while_steps_get_slower, LEAKS(A)),
    PATTERN(leak_of_one_of_a_pair, LEAKS(A)),
    PATTERN(leak_of_every_seventh_in_a_queue, LEAKS(A)),
    PATTERN(leak_on_errors, LEAKS(A)),
    PATTERN(leak_in_each_validation, LEAKS(A)),
    PATTERN(leak_in_the_middle_phase, LEAKS(A)),
    PATTERN(leak_under_collected_garbage, LEAKS(A)),
    PATTERN(leak_of_a_long_run, LEAKS(A)),
    PATTERN(leak_then_slow_end, LEAKS(A)),
    PATTERN(leak_beside_steady_buffers_of_one_line, LEAKS(A)),
    PATTERN(loop_at_the_start, CLEAN),
    PATTERN(layers_at_the_start, CLEAN),
    PATTERN(layers_loaded_slowly, CLEAN),
    PATTERN(layers_and_no_pinning_after, CLEAN),
    PATTERN(reuse_each_step, CLEAN),
    PATTERN(reuse_ended_within_a_step, CLEAN),
    PATTERN(ring, CLEAN),
    PATTERN(ring_ended_soon, CLEAN),
    PATTERN(ring_of_many_sizes, CLEAN),
    PATTERN(cache_of_forty, CLEAN),
    PATTERN(cache_of_eight, CLEAN),
    PATTERN(cache_of_ever_rarer_keys, CLEAN),
    PATTERN(data_cached_in_the_first_of_four_epochs, CLEAN),
    PATTERN(cache_that_evicts, CLEAN),
    PATTERN(warm_up_then_reuse, CLEAN),
    PATTERN(warm_up_then_rest, CLEAN),
    PATTERN(batch_that_grows, CLEAN),
    PATTERN(list_that_grows, CLEAN),
    PATTERN(outputs_of_an_epoch, CLEAN),
    PATTERN(outputs_of_two_epochs, CLEAN),
    PATTERN(outputs_of_uneven_epochs, CLEAN),
    PATTERN(prefetch_queue, CLEAN),
    PATTERN(prefetch_queue_ended_soon, CLEAN),
    PATTERN(phase_that_begins_late, CLEAN),
    PATTERN(lifetimes_at_random, CLEAN),
    PATTERN(lines_of_all_kinds, CLEAN),
    PATTERN(short_run_that_warms_up, CLEAN),
    PATTERN(history_that_is_cut, CLEAN),
    PATTERN(given_back_before_the_end, CLEAN),
    PATTERN(two_buffers_in_turn, CLEAN),
    PATTERN(small_blocks_in_a_busy_thread, CLEAN),
    PATTERN(garbage_collected_now_and_then, CLEAN),
    PATTERN(pool_of_the_most_in_use, CLEAN),
    PATTERN(two_models_one_after_the_other, CLEAN),
    PATTERN(buffers_rebuilt_each_epoch, CLEAN),
    PATTERN(buffers_that_become_more, CLEAN),
    PATTERN(work_in_pairs, CLEAN),
};
enum { PATTERNS = sizeof patterns / sizeof patterns[0] };

#endif
