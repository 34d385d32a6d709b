#include "ledger/table.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "suite.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

static char *base;  /* of the small region */
static char *exact; /* of the exact one */

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(3), 0);
    base = pt_segments_range()->base;
    exact = base + pt_segments_range()->small;
}

static uint32_t add(char *at, size_t asked, size_t capacity, uint8_t state)
{
    uint32_t number = pt_table_take_record();
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    r->state = state;
    r->base = (uintptr_t)at;
    r->asked = asked;
    r->capacity = r->locked = capacity;
    r->generation++;
    pt_table_write_end(r);
    REQUIRE(pt_table_index(number) == 0);
    return number;
}

START_TEST(every_address_of_a_block_finds_it)
{
    start();
    static const size_t sizes[] = {1, 64, 100, 4095, 4096, 4097, 20480, 65536, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int region = 0; region <= 1; region++) {
            char *at = (region ? exact : base) + i * 16 * MIB;
            size_t size = sizes[i], capacity = (size + 65535) & ~(size_t)65535;
            uint32_t number = add(at, size, region ? capacity : size, PT_LIVE);
            for (size_t offset = 0; offset<size; offset += size> 5000 ? 511 : 1) {
                struct pt_found f = pt_table_find(at + offset);
                REQUIRE(f.number == number && f.base == (uintptr_t)at && f.asked == size);
            }
            ck_assert_uint_eq(pt_table_find(at + size - 1).number, number);
            ck_assert_uint_eq(pt_table_find(at - 1).number, 0);
            ck_assert_uint_eq(pt_table_find(at + capacity).number, 0); /* past all that was set aside for it */
            pt_table_unindex(number);
            ck_assert_uint_eq(pt_table_find(at).number, 0);
            ck_assert_uint_eq(pt_table_find(at + size - 1).number, 0);
        }
    }
}
END_TEST

START_TEST(neighbours_are_told_apart)
{
    start();
    uint32_t a = add(base, 64, 64, PT_LIVE), b = add(base + 64, 100, 128, PT_LIVE);
    uint32_t c = add(base + 8192, 4096, 4096, PT_LIVE), d = add(base + 12288, 1, 64, PT_LIVE);
    ck_assert_uint_eq(pt_table_find(base + 63).number, a);
    ck_assert_uint_eq(pt_table_find(base + 64).number, b);
    ck_assert_uint_eq(pt_table_find(base + 192).number, 0);
    ck_assert_uint_eq(pt_table_find(base + 12287).number, c);
    ck_assert_uint_eq(pt_table_find(base + 12288).number, d);
    pt_table_unindex(c);
    uint32_t e = add(base + 8192, 64, 64, PT_LIVE); /* the page goes from one kind of block to the other */
    ck_assert_uint_eq(pt_table_find(base + 8192).number, e);
    ck_assert_uint_eq(pt_table_find(base + 8192 + 64).number, 0);
}
END_TEST

START_TEST(foreign_addresses_find_nothing)
{
    start();
    int local;
    add(base, 4096, 4096, PT_LIVE);
    const struct pt_range *r = pt_segments_range();
    const void *const foreign[] = {NULL, &local, base - 1, r->base + r->size, (void *)UINTPTR_MAX, (void *)start};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        ck_assert(!pt_table_ours(foreign[i]));
        ck_assert_uint_eq(pt_table_find(foreign[i]).number, 0);
    }
    ck_assert(!pt_table_ours(base) && !pt_table_ours(exact)); /* nothing is mapped there yet */
    ck_assert_ptr_eq(pt_segments_take_small(PT_PAGE, PT_PAGE), base);
    ck_assert_int_eq(pt_segments_open(exact, PT_PAGE), 0);
    ck_assert(pt_table_ours(base) && pt_table_ours(exact) && !pt_table_ours(r->base + r->size - 1));
}
END_TEST

START_TEST(a_million_blocks)
{
    start();
    enum { BLOCKS = 1000000 };
    uint32_t first = add(base, 64, 64, PT_LIVE);
    for (uint32_t i = 1; i < BLOCKS; i++) {
        REQUIRE(add(base + (size_t)i * 64, 64, 64, PT_LIVE) == first + i);
    }
    for (uint32_t i = 0; i < BLOCKS; i += 997) {
        REQUIRE(pt_table_find(base + (size_t)i * 64 + i % 64).number == first + i);
    }
}
END_TEST

START_TEST(records_are_used_again_and_end)
{
    start();
    uint32_t a = pt_table_take_record(), b = pt_table_take_record();
    ck_assert(a != 0 && b != 0 && a != b);
    uint32_t generation = ++pt_table_record(a)->generation;
    pt_table_give_record(a);
    ck_assert_uint_eq(pt_table_record(a)->state, PT_FREE);
    ck_assert_uint_eq(pt_table_take_record(), a);
    ck_assert_uint_eq(pt_table_record(a)->generation, generation); /* so that a late drop is told apart */
    atomic_store(&pt_table()->records, pt_table()->records_most);
    ck_assert_uint_eq(pt_table_take_record(), 0);
}
END_TEST

START_TEST(strings_are_kept_once)
{
    start();
    uint32_t a = pt_table_intern("train.py"), b = pt_table_intern("collect");
    ck_assert(a != 0 && b != 0 && a != b);
    ck_assert_str_eq(pt_table_string(a), "train.py");
    ck_assert_str_eq(pt_table_string(b), "collect");
    ck_assert_uint_eq(pt_table_intern("train.py"), a);
    ck_assert_uint_eq(pt_table_intern(""), 0);
    ck_assert_str_eq(pt_table_string(0), "");
    char name[32];
    for (unsigned i = 0; i < 5000; i++) { /* more than what is remembered */
        snprintf(name, sizeof name, "name %u", i);
        ck_assert_str_eq(pt_table_string(pt_table_intern(name)), name);
    }
    atomic_store(&pt_table()->strings, pt_table()->strings_most - 4);
    ck_assert_uint_eq(pt_table_intern("too long for what is left"), 0);
    ck_assert_uint_ne(pt_table_intern("abc"), 0);
}
END_TEST

/* Whoever maps these bytes elsewhere must find everything by the offsets in the header. */
START_TEST(a_copy_at_another_address_reads_the_same)
{
    start();
    uint32_t record = add(base + 4096, 5000, 8192, PT_LIVE);
    struct pt_site *s = pt_table_site(1);
    *s = (struct pt_site){.frames_count = 1, .symbol = pt_table_intern("symbol")};
    s->frames[0] = (struct pt_frame){pt_table_intern("file.py"), pt_table_intern("function"), 41};
    atomic_store(&pt_table()->sites, 2);
    pt_table_record(record)->site = 1;

    const struct pt_table *t = pt_table();
    size_t size = t->records_at + (record + 1) * sizeof(struct pt_record);
    char *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memcpy(copy, t, t->header_size);
    memcpy(copy + t->sites_at, (char *)t + t->sites_at, 2 * t->site_size);
    memcpy(copy + t->strings_at, (char *)t + t->strings_at, t->strings);
    memcpy(copy + t->records_at, (char *)t + t->records_at, (record + 1) * t->record_size);

    const struct pt_table *c = (struct pt_table *)copy;
    ck_assert_uint_eq(c->magic, PT_TABLE_MAGIC);
    ck_assert_uint_eq(c->version, PT_TABLE_VERSION);
    ck_assert_uint_eq(c->header_size, sizeof(struct pt_table));
    ck_assert_uint_eq(c->record_size, sizeof(struct pt_record));
    ck_assert_uint_eq(c->site_size, sizeof(struct pt_site));
    ck_assert_int_eq(c->pid, getpid());
    ck_assert_int_eq(c->rank, 3);
    const struct pt_record *r = (struct pt_record *)(copy + c->records_at) + record;
    const struct pt_site *site = (struct pt_site *)(copy + c->sites_at) + r->site;
    ck_assert_uint_eq(r->asked, 5000);
    ck_assert_uint_eq(site->frames[0].line, 41);
    ck_assert_str_eq(copy + c->strings_at + site->frames[0].file, "file.py");
    ck_assert_str_eq(copy + c->strings_at + site->frames[0].function, "function");
    ck_assert_str_eq(copy + c->strings_at + site->symbol, "symbol");

    /* No word of it is an address in the table, or of this program's code or data. */
    size_t length = t->records_at + t->records_most * sizeof(struct pt_record);
    const size_t parts[][2] = {
        {0, t->header_size}, {t->sites_at, 2 * t->site_size}, {t->records_at, (record + 1) * t->record_size}};
    for (unsigned i = 0; i < 3; i++) {
        const uint64_t *words = (uint64_t *)(copy + parts[i][0]);
        for (size_t w = 0; w < parts[i][1] / sizeof *words; w++) {
            ck_assert(words[w] - (uintptr_t)t >= length);
            ck_assert(words[w] - ((uintptr_t)start & ~((uintptr_t)16 * MIB - 1)) >= 32 * MIB);
        }
    }
}
END_TEST

/* A reader sees a block as a whole or not at all, while its record goes from block to block. */
static _Atomic bool stop;
static _Atomic unsigned long seen;

static uint64_t asked_of(uint32_t generation)
{
    return 4096 + generation % 4000;
}

static void *read_on(void *unused)
{
    while (!stop) {
        struct pt_found f = pt_table_find(base + 8192 + 100);
        if (f.number != 0) {
            seen++;
            if (f.state != PT_LIVE || f.base != (uintptr_t)base + 8192 || f.asked != asked_of(f.generation) ||
                f.manager != f.generation) {
                return (void *)1;
            }
        }
    }
    return unused;
}

START_TEST(readers_never_see_half_a_block)
{
    start();
    pthread_t reader[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&reader[i], NULL, read_on, NULL);
    }
    for (unsigned round = 0; round < 3000000 || (seen < 1000 && round < 300000000); round++) {
        uint32_t number = pt_table_take_record();
        struct pt_record *r = pt_table_record(number);
        pt_table_write_begin(r);
        PT_PUT(r->state, PT_LIVE);
        PT_PUT(r->base, (uintptr_t)base + 8192);
        PT_PUT(r->capacity, 2 * PT_PAGE);
        PT_PUT(r->generation, r->generation + 1);
        PT_PUT(r->manager, r->generation);
        PT_PUT(r->asked, asked_of(r->generation));
        pt_table_write_end(r);
        REQUIRE(pt_table_index(number) == 0);
        for (unsigned i = 0; i < 10; i++) {
            pt_table_write_begin(r);
            PT_PUT(r->generation, r->generation + 1);
            PT_PUT(r->manager, r->generation);
            PT_PUT(r->asked, asked_of(r->generation));
            pt_table_write_end(r);
        }
        pt_table_unindex(number);
        pt_table_give_record(number);
    }
    stop = true;
    for (unsigned i = 0; i < 2; i++) {
        void *torn;
        pthread_join(reader[i], &torn);
        ck_assert_msg(torn == NULL, "a reader saw parts of two blocks");
    }
    ck_assert_uint_gt(seen, 0);
}
END_TEST

START_TEST(a_child_goes_on_seeing_its_parents_blocks)
{
    start();
    (void)add(base, 4096, 4096, PT_LIVE);
    (void)add(base + 4096, 100, 128, PT_LIVE);
    ck_assert(pt_table_covers(base + 1, 10)); /* before the child has its own */
    pt_table_disown();
    ck_assert_ptr_null(pt_table());
    ck_assert(!pt_table_ours(base));
    char *parents = base;
    start();
    ck_assert_uint_eq(pt_table_find(parents).number, 0);
    ck_assert(pt_table_covers(parents + 1, 10));
    ck_assert(pt_table_covers(parents + 4096 + 64, 36));
    ck_assert(!pt_table_covers(parents + 4096 + 64, 37));
    ck_assert(!pt_table_covers(base + 1, 1));
    /* free(): true once, for the start of a block alone, and then it is no longer seen. */
    ck_assert(!pt_table_forget_inherited(parents + 4096 + 64, true));
    ck_assert(pt_table_forget_inherited(parents + 4096, true));
    ck_assert(!pt_table_forget_inherited(parents + 4096, true));
    ck_assert(!pt_table_covers(parents + 4096, 1));
    ck_assert(pt_table_covers(parents, 4096));
    ck_assert(pt_table_forget_inherited(parents, true));
    ck_assert(!pt_table_covers(parents, 1));
    ck_assert(!pt_table_forget_inherited(base, true));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("table");
    tcase_add_test(tests, every_address_of_a_block_finds_it);
    tcase_add_test(tests, neighbours_are_told_apart);
    tcase_add_test(tests, foreign_addresses_find_nothing);
    tcase_add_test(tests, a_million_blocks);
    tcase_add_test(tests, records_are_used_again_and_end);
    tcase_add_test(tests, strings_are_kept_once);
    tcase_add_test(tests, a_copy_at_another_address_reads_the_same);
    tcase_add_test(tests, readers_never_see_half_a_block);
    tcase_add_test(tests, a_child_goes_on_seeing_its_parents_blocks);
    return suite_run("table", tests);
}
