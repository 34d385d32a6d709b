/* Chunks and their parts: all that may happen in any order, against a plain model that says what each page is. */
#include "chunks.h"

enum { STRETCHES = 10, PAGES = 200, STEPS = 200000, LOOK_EACH = 50 };
enum what { GONE, USED, LOCKED, HOLE };

static struct page {
    enum what is;
    enum pt_chunk_kind kind;
    uint32_t part;  /* the record of a used one */
    uint32_t chunk; /* tells them apart */
} model[STRETCHES][PAGES];
static unsigned chunks_so_far;
static uint64_t clock_ns;
static unsigned did[10];

static char *address_of(unsigned s, unsigned page)
{
    return exact + s * 64 * MIB + page * PT_PAGE;
}

static void place_of(uint32_t number, unsigned *s, unsigned *page)
{
    size_t at = part(number)->base - (uintptr_t)exact;
    *s = (unsigned)(at / (64 * MIB));
    *page = (unsigned)(at % (64 * MIB) / PT_PAGE);
}

/* Whether a page goes on what the one before it is. */
static bool goes_on(const struct page *p)
{
    return p[0].is == p[-1].is && p[0].chunk == p[-1].chunk && p[0].part == p[-1].part;
}

/* The run around a page; its end. */
static unsigned run_of(unsigned s, unsigned page, unsigned *first)
{
    unsigned end = page + 1;
    while (page > 0 && goes_on(&model[s][page])) {
        page--;
    }
    while (end < PAGES && goes_on(&model[s][end])) {
        end++;
    }
    *first = page;
    return end;
}

static void mark(unsigned s, unsigned first, unsigned end, enum what is, uint32_t number)
{
    for (unsigned i = first; i < end; i++) {
        model[s][i].is = is;
        model[s][i].part = number;
    }
}

/* That the record is that run. */
static void require_run(uint32_t number)
{
    unsigned s, page, first, end;
    place_of(number, &s, &page);
    end = run_of(s, page, &first);
    REQUIRE(first == page && part(number)->capacity == (end - first) * PT_PAGE);
}

/* ---- used parts, to choose from ---- */

static uint32_t used[STRETCHES * PAGES];
static unsigned used_count;

static unsigned some_used(void)
{
    return (unsigned)rand() % used_count;
}

/* In any of the states that somebody may have it in. */
static void begin_use(uint32_t number)
{
    static const enum pt_state states[] = {PT_LIVE, PT_LIVE, PT_LIVE, PT_FLYING, PT_CACHED, PT_BUSY};
    enum pt_state now = states[rand() % 6];
    atomic_store(&part(number)->owner, now == PT_CACHED ? 1 : 0);
    set_state(number, now);
    used[used_count++] = number;
}

static uint32_t end_use(unsigned i)
{
    uint32_t number = used[i];
    used[i] = used[--used_count];
    atomic_store(&part(number)->owner, 0);
    set_state(number, PT_BUSY);
    return number;
}

/* ---- what may happen ---- */

static bool is_gone(unsigned s)
{
    bool gone = true;
    for (unsigned i = 0; i < PAGES; i++) {
        gone = gone && model[s][i].is == GONE;
    }
    return gone;
}

static void add(void)
{
    unsigned s = (unsigned)rand() % STRETCHES, len = (unsigned)rand() % PAGES + 1;
    if (!is_gone(s)) {
        return;
    }
    enum pt_chunk_kind kind = rand() % 2 == 0   ? PT_CHUNK_MLOCKED
                              : rand() % 2 == 0 ? PT_CHUNK_REGISTERED
                                                : PT_CHUNK_SMALL;
    uint32_t number = pt_chunks_add(address_of(s, 0), len * PT_PAGE, kind);
    REQUIRE(number != 0);
    chunks_so_far++;
    for (unsigned i = 0; i < len; i++) {
        model[s][i] = (struct page){.is = USED, .kind = kind, .part = number, .chunk = chunks_so_far};
    }
    begin_use(number);
    did[0]++;
}

static void cut(void)
{
    unsigned s, first, end, i = some_used();
    uint32_t number = end_use(i);
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    unsigned need = (unsigned)rand() % (end - first) + 1;
    bool locked = model[s][first].kind != PT_CHUNK_MLOCKED || rand() % 2 == 0;
    pt_chunks_cut(number, need * PT_PAGE, locked);
    mark(s, first + need, end, locked ? LOCKED : HOLE, 0);
    begin_use(number);
    did[1]++;
}

static void take(void)
{
    enum pt_free_kind kind = (enum pt_free_kind)(rand() % PT_FREE_KINDS);
    unsigned need = (unsigned)rand() % (rand() % 3 == 0 ? PAGES : 12) + 1, s, first;
    uint32_t number = pt_free_cache_best(need * PT_PAGE, kind);
    if (number == 0) {
        return;
    }
    place_of(number, &s, &first);
    require_run(number);
    REQUIRE(part(number)->capacity >= need * PT_PAGE);
    REQUIRE(model[s][first].is == (kind == PT_FREE_HOLE ? HOLE : LOCKED));
    size_t has = part(number)->capacity / PT_PAGE;
    if (has > need && rand() % 2 == 0) {
        first += (unsigned)has - need;
        number = pt_chunks_take_tail(number, need * PT_PAGE);
        REQUIRE(part(number)->base == (uintptr_t)address_of(s, first));
        did[8]++;
    } else {
        pt_chunks_take(number, need * PT_PAGE);
    }
    REQUIRE(part(number)->state == PT_BUSY && part(number)->capacity == need * PT_PAGE);
    mark(s, first, first + need, USED, number);
    begin_use(number);
    did[2]++;
}

static void join(void)
{
    unsigned at = some_used(), s, first, next = 0;
    uint32_t number = used[at], later = part(number)->after;
    while (next < used_count && used[next] != later) {
        next++;
    }
    if (later == 0 || next == used_count) {
        return;
    }
    unsigned pages = (unsigned)(part(later)->capacity / PT_PAGE);
    (void)end_use(next);
    (void)end_use(at < used_count ? at : next); /* the last one has come to where the later part was */
    place_of(later, &s, &first);
    mark(s, first, first + pages, USED, number);
    pt_chunks_join(number, later);
    require_run(number);
    begin_use(number);
    did[9]++;
}

/* A busy part that is its whole chunk goes. */
static void remove_chunk(uint32_t number)
{
    unsigned s, first, end;
    REQUIRE(pt_chunks_is_whole(number));
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    for (unsigned i = first; i < end; i++) {
        model[s][i] = (struct page){0};
    }
    REQUIRE(pt_chunks_remove(number) == (is_gone(s) ? address_of(s, 0) : NULL));
    did[3]++;
}

static void give_back(uint32_t number, bool locked)
{
    unsigned s, first, end;
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    mark(s, first, end, locked ? LOCKED : HOLE, 0);
    clock_ns += (unsigned)rand() % 3;
    uint64_t late = rand() % 4 == 0 ? (unsigned)rand() % 20 : 0; /* out of a magazine */
    number = pt_chunks_give(number, locked, clock_ns > late ? clock_ns - late : 0);
    require_run(number);
    if (!locked && pt_chunks_is_whole(number)) { /* nothing of it is locked any more */
        pt_chunks_take(number, part(number)->capacity);
        remove_chunk(number);
    }
}

static void give_one(void)
{
    uint32_t number = end_use(some_used());
    if (pt_chunks_is_whole(number) && rand() % 8 == 0) {
        remove_chunk(number); /* as one that could not be locked */
    } else {
        give_back(number, pt_chunks_kind(number) != PT_CHUNK_MLOCKED || rand() % 4 != 0);
    }
    did[4]++;
}

/* Of a run that waits: all of it, or enough in whole grains, at an end of it: at the one with a hole beside it. */
static void require_taken(uint32_t number, size_t enough)
{
    enum { GRAIN = 16 };
    unsigned s, page, first, end, pages = (unsigned)(part(number)->capacity / PT_PAGE);
    place_of(number, &s, &page);
    end = run_of(s, page, &first);
    REQUIRE(pages == end - first || (enough < SIZE_MAX && pages == pt_pages_up(enough, GRAIN * PT_PAGE) / PT_PAGE));
    bool hole_before = first > 0 && model[s][first - 1].is == HOLE && model[s][first - 1].chunk == model[s][first].chunk,
         hole_behind = end < PAGES && model[s][end].is == HOLE && model[s][end].chunk == model[s][first].chunk;
    REQUIRE(hole_behind && !hole_before ? page + pages == end : page == first);
    mark(s, page, page + pages, USED, number);
}

static void unlock_oldest(void)
{
    uint64_t before = rand() % 2 == 0 ? UINT64_MAX : clock_ns > 40 ? clock_ns - (unsigned)rand() % 40 : 0;
    size_t enough = rand() % 2 == 0 ? SIZE_MAX : (size_t)rand() % 40 * PT_PAGE + 1;
    uint32_t number = pt_chunks_take_oldest(before, enough), records = atomic_load(&pt_table()->records);
    uint64_t born = number != 0 ? part(number)->born_ns : before < UINT64_MAX ? before + 1 : 0;
    REQUIRE(number == 0 || born <= before);
    for (uint32_t other = 1; other < records; other++) { /* nobody waits longer */
        const struct pt_record *r = part(other);
        if (r->state == PT_CACHED && atomic_load(&r->owner) == 0 && (r->flags & PT_REGISTERED) == 0) {
            REQUIRE(number != 0 || before < UINT64_MAX);
            REQUIRE(r->born_ns >= born);
        }
    }
    if (number != 0) {
        require_taken(number, enough);
        REQUIRE(pt_chunks_kind(number) == PT_CHUNK_MLOCKED);
        give_back(number, rand() % 4 == 0);
        did[5]++;
    }
}

static void remove_unused(void)
{
    size_t deficit = (size_t)rand() % (12 * PAGES) * PT_PAGE, sum = 0, enough = 0, largest = 0;
    for (unsigned s = 0; s < STRETCHES; s++) {
        for (unsigned first = 0, end; first < PAGES; first = end) {
            end = run_of(s, first, &first);
            const struct page *p = &model[s][first];
            bool alone = (first == 0 || p[-1].chunk != p->chunk) && (end == PAGES || model[s][end].chunk != p->chunk);
            size_t len = (end - first) * PT_PAGE;
            if (p->is == LOCKED && p->kind != PT_CHUNK_MLOCKED && alone) {
                sum += len;
                largest = len > largest ? len : largest;
                enough = len >= deficit / 8 && (enough == 0 || len < enough) ? len : enough;
            }
        }
    }
    REQUIRE(pt_chunks_unused() == sum);
    uint32_t number = pt_chunks_take_unused(deficit);
    REQUIRE((number != 0) == (sum > 0));
    if (number != 0) {
        REQUIRE(part(number)->capacity == (enough > 0 ? enough : largest));
        REQUIRE(pt_chunks_unused() == sum - part(number)->capacity);
        require_run(number);
        remove_chunk(number);
        did[6]++;
    }
}

static void convert(void)
{
    uint32_t number = used[some_used()];
    unsigned s, first, end;
    if (pt_chunks_kind(number) != PT_CHUNK_MLOCKED || part(number)->state != PT_LIVE) {
        return;
    }
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    REQUIRE(pt_chunks_convert(number));
    uint32_t was = model[s][first].chunk;
    for (unsigned i = end; i < PAGES && model[s][i].chunk == was; i++) {
        model[s][i].chunk = chunks_so_far + 1;
    }
    for (unsigned i = first; i < end; i++) {
        model[s][i].chunk = chunks_so_far + 2;
        model[s][i].kind = PT_CHUNK_REGISTERED;
    }
    chunks_so_far += 2;
    did[7]++;
}

/* All that nobody uses goes; also what a conversion has left over that is not locked. */
static void trim(void)
{
    for (uint32_t number; (number = pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX)) != 0;) {
        give_back(number, false);
    }
    for (uint32_t number; (number = pt_chunks_take_unused(0)) != 0;) {
        remove_chunk(number);
    }
    for (uint32_t number; (number = pt_free_cache_best(PT_PAGE, PT_FREE_HOLE)) != 0 && pt_chunks_is_whole(number);) {
        pt_chunks_take(number, part(number)->capacity);
        remove_chunk(number);
    }
}

/* ---- looking at all of it ---- */

static uint32_t number_at[STRETCHES][PAGES], chunk_number[STRETCHES * PAGES];
static unsigned runs_most, chunks_most;

static enum pt_free_kind free_kind(const struct page *p)
{
    return p->kind == PT_CHUNK_REGISTERED ? PT_FREE_REGISTERED
           : p->kind == PT_CHUNK_SMALL    ? PT_FREE_SMALL
           : p->is == HOLE                ? PT_FREE_HOLE
                                          : PT_FREE_MLOCKED;
}

/* One part: what it says of itself, and what is found at its addresses. */
static void look_at(unsigned s, unsigned first, unsigned end)
{
    const struct page *p = &model[s][first];
    uint32_t number = number_at[s][first];
    const struct pt_record *r = part(number);
    REQUIRE(number != 0 && r->capacity == (end - first) * PT_PAGE);
    REQUIRE(p->is == USED ? number == p->part : r->state == (p->is == HOLE ? PT_HOLE : PT_CACHED));
    REQUIRE(r->locked == (p->is == HOLE ? 0 : r->capacity));
    REQUIRE(((r->flags & PT_REGISTERED) != 0) == (p->kind != PT_CHUNK_MLOCKED) && (r->flags & PT_EXACT) != 0);
    REQUIRE(pt_chunks_kind(number) == p->kind);
    uint32_t before = first > 0 && p[-1].chunk == p->chunk ? p[-1].part : 0;
    if (first > 0 && p[-1].chunk == p->chunk && before == 0) { /* a free one */
        unsigned from;
        run_of(s, first - 1, &from);
        before = number_at[s][from];
    }
    REQUIRE(r->before == before);
    REQUIRE(r->after == (end < PAGES && model[s][end].chunk == p->chunk ? number_at[s][end] : 0));
    REQUIRE(pt_chunks_is_whole(number) == (r->before == 0 && r->after == 0));
    uint32_t finds = p->is == HOLE ? 0 : number;
    REQUIRE(found_at(address_of(s, first)) == finds && found_at(address_of(s, end) - 1) == finds);
    REQUIRE(found_at(address_of(s, first) + (end - first) * PT_PAGE / 2) == finds);
}

/* That the parts are those of the model, tile their chunks, and add up. */
static void look(void)
{
    uint32_t records = atomic_load(&pt_table()->records), parts = 0, runs = 0, chunks = 0;
    size_t bytes[PT_FREE_KINDS] = {0};
    memset(number_at, 0, sizeof number_at);
    for (uint32_t number = 1; number < records; number++) {
        unsigned s, page;
        if (part(number)->state != PT_FREE) {
            place_of(number, &s, &page);
            REQUIRE(s < STRETCHES && page < PAGES && number_at[s][page] == 0);
            number_at[s][page] = number;
            parts++;
        }
    }
    for (unsigned s = 0; s < STRETCHES; s++) {
        size_t in_use = 0;
        unsigned chunk_first = 0;
        for (unsigned first = 0, end; first < PAGES; first = end) {
            const struct page *p = &model[s][first];
            end = run_of(s, first, &first);
            if (p->is == GONE) {
                continue;
            }
            look_at(s, first, end);
            runs++;
            if (first == 0 || p[-1].chunk != p->chunk) { /* a chunk begins: it has a number of its own */
                uint32_t number = part(number_at[s][first])->chunk;
                for (unsigned i = 0; i < chunks; i++) {
                    REQUIRE(chunk_number[i] != number);
                }
                chunk_number[chunks++] = number;
                in_use = 0;
                chunk_first = first;
            }
            REQUIRE(part(number_at[s][first])->chunk == chunk_number[chunks - 1]);
            in_use += p->is == USED ? (end - first) * PT_PAGE : 0;
            bytes[free_kind(p)] += p->is != USED ? (end - first) * PT_PAGE : 0;
            if (end == PAGES || model[s][end].chunk != p->chunk) { /* and ends */
                const struct pt_chunk *c = pt_chunk_table_at(chunk_number[chunks - 1]);
                REQUIRE(c->base == address_of(s, chunk_first) && c->len == (end - chunk_first) * PT_PAGE);
                REQUIRE(c->first == number_at[s][chunk_first] && c->used == in_use && c->kind == p->kind);
                REQUIRE(pt_chunks_is_unused(number_at[s][chunk_first]) == (in_use == 0));
                REQUIRE(pt_chunks_is_unused(number_at[s][first]) == (in_use == 0));
            }
        }
    }
    REQUIRE(parts == runs);
    for (int kind = 0; kind < PT_FREE_KINDS; kind++) {
        REQUIRE(pt_free_cache_bytes(kind) == bytes[kind]);
    }
    REQUIRE(pt_free_cache_locked() == bytes[PT_FREE_MLOCKED] + bytes[PT_FREE_REGISTERED] + bytes[PT_FREE_SMALL]);
}

/* How many parts and chunks there are at most: so many records and numbers are needed, and no more. A chunk that came
 * with the addresses keeps its number until all of them go. */
static void count_them(void)
{
    unsigned runs = 0, chunks = 0;
    for (unsigned s = 0; s < STRETCHES; s++) {
        bool any = false;
        for (unsigned i = 0; i < PAGES; i++) {
            const struct page *p = &model[s][i];
            runs += p->is != GONE && (i == 0 || !goes_on(p));
            chunks += p->is != GONE && (i == 0 || p[-1].chunk != p->chunk);
            any = any || p->is != GONE;
        }
        chunks += any;
    }
    runs_most = runs > runs_most ? runs : runs_most;
    chunks_most = chunks > chunks_most ? chunks : chunks_most;
}

START_TEST(any_order_agrees_with_a_plain_model)
{
    start();
    srand((unsigned)_i + 1);
    for (unsigned step = 0; step < STEPS; step++) {
        /* What is in use grows and shrinks in waves, so that chunks come and go. */
        static void (*const more[])(void) = {add,  add,  cut,  cut,      take,          take,
                                             take, take, take, give_one, unlock_oldest, convert, join};
        static void (*const less[])(void) = {cut,      take,     give_one,      give_one,
                                             give_one, give_one, unlock_oldest, remove_unused, join};
        static bool grows;
        if (!grows && used_count < 3 && rand() % 2 == 0) {
            trim();
        }
        grows = used_count < 3 || (grows && rand() % 500 != 0);
        if (used_count == 0) {
            add();
        } else {
            (grows ? more[rand() % 13] : less[rand() % 9])();
        }
        count_them();
        if (step % LOOK_EACH == 0) {
            look();
            REQUIRE(atomic_load(&pt_table()->records) <=
                    runs_most + 2); /* a rest that joins at once has one for a moment */
            for (uint32_t number = 1; number < atomic_load(&pt_table()->records); number++) {
                REQUIRE(part(number)->state == PT_FREE || part(number)->chunk <= chunks_most);
            }
        }
    }
    for (unsigned i = 0; i < sizeof did / sizeof *did; i++) {
        ck_assert_msg(did[i] > STEPS / 20000, "%u of kind %u", did[i], i); /* how many varies with the addresses */
    }
    while (used_count > 0) {
        uint32_t number = end_use(used_count - 1);
        give_back(number, pt_chunks_kind(number) != PT_CHUNK_MLOCKED);
    }
    trim();
    look();
    ck_assert(pt_free_cache_locked() == 0 && pt_free_cache_bytes(PT_FREE_HOLE) == 0 && pt_chunks_unused() == 0);
    uint32_t records = atomic_load(&pt_table()->records);
    for (uint32_t i = 1; i < records; i++) { /* every one of them is to be had again */
        REQUIRE(pt_table_take_record() < records);
    }
    ck_assert_uint_eq(pt_table_take_record(), records);
    static uint32_t p[2 * HOLES_MOST + 4];
    make_holes(0, p); /* and no hole of all those is still counted */
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("chunks_random");
    tcase_add_loop_test(tests, any_order_agrees_with_a_plain_model, 0, 3);
    return suite_run("chunks_random", tests);
}
