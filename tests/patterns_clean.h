/* Programs that lose nothing, whatever it looks like: patterns.h. */
static void loop_at_the_start(void)
{
    REPEAT(1000) keep(A, 512 * KIB);
    REPEAT(100) step(200);
}

static void layers_at_the_start(void)
{
    REPEAT(32)
    {
        keep(A, 512 * KIB);
        keep(B, 4 * KIB);
        keep(C, 4 * KIB);
    }
    REPEAT(50) step(200);
}

static void layers_loaded_slowly(void)
{
    REPEAT(100)
    {
        brief(B, 512 * KIB);
        keep(A, 512 * KIB);
        work(50);
    }
    REPEAT(200) step(60);
}

static void layers_and_no_pinning_after(void)
{
    REPEAT(16)
    {
        keep(A, 256 * KIB);
        keep(B, 4 * KIB);
        work(20);
    }
    work(10000);
}

static void reuse_each_step(void)
{
    REPEAT(200)
    {
        REPEAT(4) keep(A, 256 * KIB);
        step(50);
        drop_all(A);
    }
}

static void reuse_ended_within_a_step(void)
{
    REPEAT(50)
    {
        drop_all(A);
        REPEAT(4)
        {
            keep(A, 256 * KIB);
            step(20);
        }
    }
}

static void ring(void)
{
    REPEAT(300)
    {
        keep(A, 128 * KIB);
        if (kept(A) > 32) {
            drop_oldest(A);
        }
        step(20);
    }
}

static void ring_ended_soon(void)
{
    REPEAT(48)
    {
        keep(A, 128 * KIB);
        if (kept(A) > 32) {
            drop_oldest(A);
        }
        step(20);
    }
}

static void ring_of_many_sizes(void)
{
    REPEAT(200)
    {
        if (kept(A) == 24) {
            drop_oldest(A);
        }
        keep(A, KIB << draw(11));
        step(20);
    }
}

static void use_cache(bool *have, unsigned key)
{
    if (!have[key]) {
        have[key] = true;
        keep(A, 64 * KIB);
    }
    step(20);
}

static void cache_of_forty(void)
{
    bool have[40] = {false};
    REPEAT(600) use_cache(have, draw(40));
}

static void cache_of_eight(void)
{
    bool have[8] = {false};
    REPEAT(100) use_cache(have, draw(8));
}

static void cache_of_ever_rarer_keys(void)
{
    bool have[12] = {false};
    REPEAT(3000)
    {
        unsigned key = 0;
        while (key < 11 && draw(2) == 0) {
            key++;
        }
        use_cache(have, key);
    }
}

static void data_cached_in_the_first_of_four_epochs(void)
{
    REPEAT(100)
    {
        keep(A, 256 * KIB);
        step(50);
    }
    REPEAT(300) step(50);
}

static void cache_that_evicts(void)
{
    REPEAT(400)
    {
        if (kept(A) == 64) {
            drop_any(A);
        }
        keep(A, (1 + draw(64)) * 4 * KIB);
        step(20);
    }
}

static void warm_up_then_reuse(void)
{
    REPEAT_AS(i, 60)
    {
        i < 10 ? keep(A, 512 * KIB) : brief(A, 512 * KIB);
        step(50);
    }
}

static void warm_up_then_rest(void)
{
    REPEAT(5)
    {
        keep(A, 512 * KIB);
        step(200);
    }
    REPEAT(95) step(50);
}

static void batch_that_grows(void)
{
    REPEAT_AS(i, 100)
    {
        keep(A, (i + 1) * 8 * KIB);
        if (kept(A) > 1) {
            drop_oldest(A);
        }
        step(50);
    }
}

static void list_that_grows(void)
{
    REPEAT_AS(i, 60)
    {
        REPEAT(i + 1) keep(A, 16 * KIB);
        step(50);
        drop_all(A);
    }
    keep(A, 16 * KIB);
}

static void outputs_of_an_epoch(void)
{
    REPEAT_AS(i, 210)
    {
        if (i % 20 == 0) {
            drop_all(A);
        }
        keep(A, 64 * KIB);
        step(50);
    }
}

static void outputs_of_two_epochs(void)
{
    REPEAT(2)
    {
        drop_all(A);
        REPEAT(20)
        {
            keep(A, 64 * KIB);
            step(50);
        }
    }
}

static void outputs_of_uneven_epochs(void)
{
    REPEAT(8)
    {
        drop_all(A);
        REPEAT(10 + draw(20))
        {
            keep(A, 64 * KIB);
            step(50);
        }
    }
}

static void prefetch_queue(void)
{
    REPEAT(300)
    {
        keep(A, 256 * KIB);
        while (kept(A) > draw(9)) {
            drop_any(A);
        }
        step(20);
    }
}

static void prefetch_queue_ended_soon(void)
{
    REPEAT(24)
    {
        keep(A, 256 * KIB);
        while (kept(A) > draw(9)) {
            drop_any(A);
        }
        step(20);
    }
}

static void phase_that_begins_late(void)
{
    REPEAT(200) step(100);
    REPEAT(16)
    {
        keep(A, 256 * KIB);
        step(60);
    }
    REPEAT(50) step(60);
}

static void lifetimes_at_random(void)
{
    REPEAT(400)
    {
        for (size_t n = kept(A); n > 0; n--) {
            if (draw(20) == 0) {
                drop_any(A);
            }
        }
        keep(A, KIB << draw(11));
        step(20);
    }
}

static void lines_of_all_kinds(void)
{
    REPEAT_AS(i, 150)
    {
        if (i < 12) {
            keep(A, 512 * KIB);
        }
        keep(B, 64 * KIB);
        if (kept(B) > 10) {
            drop_oldest(B);
        }
        brief(C, KIB << draw(11));
        step(30);
    }
}

static void short_run_that_warms_up(void)
{
    REPEAT_AS(i, 30)
    {
        i < 3 ? keep(A, 256 * KIB) : brief(A, 256 * KIB);
        step(10);
    }
}

static void history_that_is_cut(void)
{
    REPEAT(250)
    {
        keep(A, 64 * KIB);
        if (kept(A) == 50) {
            REPEAT(40) drop_oldest(A);
        }
        step(20);
    }
}

static void given_back_before_the_end(void)
{
    REPEAT(60)
    {
        keep(A, 64 * KIB);
        step(50);
    }
    while (kept(A) > 10) {
        drop_oldest(A);
    }
}

static void two_buffers_in_turn(void)
{
    REPEAT(100)
    {
        keep(A, 512 * KIB);
        if (kept(A) > 2) {
            drop_oldest(A);
        }
        work(30);
    }
}

static void small_blocks_in_a_busy_thread(void)
{
    REPEAT(40) keep(A, 32 * KIB);
    REPEAT(2000)
    {
        brief(A, 32 * KIB);
        brief(B, 16 * KIB);
        work(1);
    }
}

static void garbage_collected_now_and_then(void)
{
    REPEAT_AS(i, 480)
    {
        keep(A, 64 * KIB);
        if (i % 50 == 49) {
            drop_all(A);
        }
        step(20);
    }
}

/* A program's own pool, which gives nothing back: it grows when more are wanted at once than ever before. */
static void pool_of_the_most_in_use(void)
{
    REPEAT(800)
    {
        unsigned wanted = 4 + draw(4) + draw(4) + draw(4) + draw(4);
        while (kept(A) < wanted) {
            keep(A, 128 * KIB);
        }
        step(20);
    }
}

static void two_models_one_after_the_other(void)
{
    REPEAT(8)
    {
        keep(A, 256 * KIB);
        keep(B, 4 * KIB);
        work(20);
    }
    REPEAT(60) step(50);
    REPEAT(8)
    {
        keep(A, 256 * KIB);
        keep(B, 4 * KIB);
        work(20);
    }
    REPEAT(140) step(50);
}

static void buffers_rebuilt_each_epoch(void)
{
    REPEAT(5)
    {
        drop_all(A);
        REPEAT(16)
        {
            keep(A, 256 * KIB);
            step(20);
        }
        REPEAT(50) step(50);
    }
}

static void buffers_that_become_more(void)
{
    REPEAT_AS(i, 30)
    {
        drop_all(A);
        REPEAT(4 + i / 5) keep(A, 64 * KIB);
        REPEAT(5) step(40);
    }
}

static void work_in_pairs(void)
{
    keep(A, 256 * KIB);
    REPEAT(150)
    {
        keep(A, 256 * KIB);
        step(30);
        drop_oldest(A);
    }
}
