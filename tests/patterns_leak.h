/* Programs that lose memory at line A, or at A and B: patterns.h. */
static void leak_the_only_line(void)
{
    REPEAT(100)
    {
        keep(A, 512 * KIB);
        work(10);
    }
}

static void leak_long(void)
{
    REPEAT(500)
    {
        keep(A, 512 * KIB);
        step(500);
    }
}

static void leak_six_steps(void)
{
    step(3000);
    REPEAT(6)
    {
        brief(B, 128 * KIB);
        keep(A, 512 * KIB);
        work(500);
    }
    work(200);
}

static void leak_five_short_steps(void)
{
    REPEAT(5)
    {
        keep(A, 512 * KIB);
        step(30);
    }
    work(100);
}

static void leak_in_a_tenth_of_a_second(void)
{
    REPEAT(20)
    {
        keep(A, 64 * KIB);
        step(5);
    }
    work(30);
}

static void leak_quick_steps_alone(void)
{
    REPEAT(500)
    {
        keep(A, 8 * KIB);
        work(1);
    }
}

static void leak_a_hundred_a_step(void)
{
    REPEAT(30)
    {
        REPEAT(100) keep(A, 16 * KIB);
        step(200);
    }
}

static void leak_every_tenth(void)
{
    REPEAT_AS(i, 300)
    {
        i % 10 == 9 ? keep(A, 128 * KIB) : brief(A, 128 * KIB);
        step(50);
    }
}

static void leak_one_in_twenty_at_random(void)
{
    REPEAT(600)
    {
        draw(20) == 0 ? keep(A, 128 * KIB) : brief(A, 128 * KIB);
        step(50);
    }
}

static void leak_at_random_steps(void)
{
    REPEAT(200)
    {
        if (draw(100) < 30) {
            keep(A, 128 * KIB);
        }
        step(50);
    }
}

static void leak_in_bursts_between_use(void)
{
    REPEAT(6)
    {
        REPEAT(80)
        {
            brief(A, 64 * KIB);
            step(20);
        }
        REPEAT(20)
        {
            keep(A, 64 * KIB);
            step(20);
        }
    }
}

static void leak_in_bursts_and_rests(void)
{
    REPEAT(5)
    {
        REPEAT(10)
        {
            keep(A, 64 * KIB);
            step(20);
        }
        REPEAT(50) step(100);
    }
}

static void leak_an_epoch_between_use(void)
{
    REPEAT(5)
    {
        REPEAT(40)
        {
            brief(A, 256 * KIB);
            step(100);
        }
        keep(A, 256 * KIB);
    }
    REPEAT(20)
    {
        brief(A, 256 * KIB);
        step(100);
    }
}

static void leak_an_epoch(void)
{
    REPEAT(6)
    {
        REPEAT(40) step(100);
        keep(A, 512 * KIB);
    }
}

static void leak_then_short_evaluation(void)
{
    REPEAT(100)
    {
        keep(A, 512 * KIB);
        step(100);
    }
    REPEAT(30) step(100);
}

static void leak_then_long_evaluation(void)
{
    REPEAT(100)
    {
        keep(A, 512 * KIB);
        step(100);
    }
    REPEAT(80) step(100);
}

static void leak_then_evaluation_without_pinning(void)
{
    REPEAT(40)
    {
        keep(A, 512 * KIB);
        work(300);
    }
    work(3000);
}

static void leak_with_evaluation_each_epoch(void)
{
    REPEAT(4)
    {
        REPEAT(50)
        {
            keep(A, 512 * KIB);
            step(50);
        }
        REPEAT(25)
        {
            brief(C, 64 * KIB);
            step(100);
        }
    }
}

static void leak_ends_soon_after_evaluation(void)
{
    REPEAT(400)
    {
        keep(A, 64 * KIB);
        step(20);
    }
    REPEAT(100) step(80);
    REPEAT(6)
    {
        keep(A, 64 * KIB);
        step(20);
    }
}

static void leak_in_the_last_evaluation(void)
{
    REPEAT(200) step(100);
    REPEAT(20)
    {
        keep(A, 512 * KIB);
        step(50);
    }
}

static void leak_under_a_prefetch_queue(void)
{
    /* Every eighth batch is forgotten. */
    size_t depth = 0;
    REPEAT_AS(i, 400)
    {
        keep(A, 256 * KIB);
        depth += i % 8 != 7;
        while (depth > draw(8)) {
            drop_any(A);
            depth--;
        }
        step(20);
    }
}

static void leak_under_an_early_spike(void)
{
    REPEAT(10)
    {
        REPEAT(10) keep(A, 64 * KIB);
        step(10);
    }
    drop_all(A);
    REPEAT(60)
    {
        brief(A, 64 * KIB);
        keep(A, 64 * KIB);
        step(100);
    }
}

static void leak_after_warm_up(void)
{
    REPEAT(20)
    {
        keep(A, 512 * KIB);
        step(10);
    }
    REPEAT(10)
    {
        REPEAT(20) step(50);
        keep(A, 512 * KIB);
    }
}

static void leak_begins_late(void)
{
    REPEAT_AS(i, 200)
    {
        i < 140 ? brief(A, 128 * KIB) : keep(A, 128 * KIB);
        step(30);
    }
}

static void leak_of_many_sizes(void)
{
    REPEAT(150)
    {
        brief(A, KIB << draw(11));
        keep(A, KIB << draw(11));
        step(30);
    }
}

static void leak_of_small_blocks_in_a_busy_thread(void)
{
    REPEAT(200)
    {
        REPEAT(30)
        {
            brief(A, 32 * KIB);
            brief(B, 32 * KIB);
        }
        keep(A, 32 * KIB);
        work(10);
    }
}

static void leak_at_two_lines(void)
{
    REPEAT(50)
    {
        keep(A, 128 * KIB);
        keep(B, 512 * KIB);
        brief(C, 128 * KIB);
        work(40);
    }
}

static void leak_while_steps_get_slower(void)
{
    REPEAT_AS(i, 120)
    {
        keep(A, 512 * KIB);
        step(i < 60 ? 50 : 200);
    }
}

static void leak_of_one_of_a_pair(void)
{
    REPEAT(80)
    {
        brief(A, 512 * KIB);
        keep(A, 512 * KIB);
        step(40);
    }
}

static void leak_of_every_seventh_in_a_queue(void)
{
    REPEAT_AS(i, 210)
    {
        keep(A, 128 * KIB);
        if (i >= 10 && i % 7 != 0) {
            drop_oldest(A);
        }
        step(40);
    }
}

static void leak_on_errors(void)
{
    REPEAT(400)
    {
        if (draw(100) < 6) {
            REPEAT(4) keep(A, 64 * KIB);
        } else {
            REPEAT(4) brief(A, 64 * KIB);
        }
        step(25);
    }
}

static void leak_in_each_validation(void)
{
    REPEAT(5)
    {
        REPEAT(60) step(50);
        REPEAT(10)
        {
            keep(A, 256 * KIB);
            brief(B, 64 * KIB);
            work(30);
        }
    }
}

static void leak_in_the_middle_phase(void)
{
    REPEAT(100) step(50);
    REPEAT(80)
    {
        keep(A, 256 * KIB);
        step(50);
    }
    REPEAT(50) step(50);
}

/* What a collector of cycles frees now and then, but for a few each time. */
static void leak_under_collected_garbage(void)
{
    size_t lost = 0;
    REPEAT_AS(i, 500)
    {
        keep(A, 64 * KIB);
        if (i % 50 == 49) {
            lost += 5;
            while (kept(A) > lost) {
                drop_oldest(A);
            }
        }
        step(20);
    }
}

static void leak_of_a_long_run(void)
{
    REPEAT(2000)
    {
        keep(A, 64 * KIB);
        REPEAT(10) brief(A, 64 * KIB);
        step(300);
    }
}

static void leak_then_slow_end(void)
{
    REPEAT(8)
    {
        keep(A, 256 * KIB);
        step(25);
    }
    work(150);
}

static void leak_beside_steady_buffers_of_one_line(void)
{
    REPEAT(16) keep(A, 256 * KIB);
    REPEAT(100)
    {
        REPEAT(4) brief(A, 256 * KIB);
        keep(A, 256 * KIB);
        work(40);
    }
}
