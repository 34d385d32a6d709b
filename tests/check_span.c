/* Spans: where a request finds free neighbours, and what it leaves of them. The book-keeping alone. */
#include "chunks.h"
#include "pool/span.h"

#define ROW_MOST 40

/* A chunk of neighbours, in MiB: "L3 w2 h4 L1" is one in use, one that waits locked, a hole, and another in use. */
static unsigned row(size_t at, const char *text, uint32_t parts[ROW_MOST])
{
    char kind[ROW_MOST];
    size_t len[ROW_MOST], sum = 0;
    unsigned count = 0;
    for (int used; sscanf(text, " %c%zu%n", &kind[count], &len[count], &used) == 2; text += used) {
        sum += len[count++] *= MIB;
    }
    uint32_t rest = pt_chunks_add(exact + at, sum, PT_CHUNK_MLOCKED);
    for (unsigned i = 0; i < count; i++) {
        parts[i] = rest;
        if (i + 1 < count) {
            pt_chunks_cut(rest, len[i], true);
            rest = part(rest)->after;
            pt_chunks_take(rest, part(rest)->capacity);
        }
        set_state(parts[i], PT_LIVE);
    }
    for (unsigned i = 0; i < count; i++) {
        if (kind[i] != 'L') {
            pt_chunks_give(parts[i], kind[i] == 'w', 1);
        }
    }
    return count;
}

static size_t bytes_of(const struct pt_span *s)
{
    size_t sum = 0;
    for (unsigned i = 0; i < s->count; i++) {
        REQUIRE(part(s->part[i])->state == PT_BUSY);
        REQUIRE(i == 0 || part(s->part[i - 1])->after == s->part[i]);
        sum += part(s->part[i])->capacity;
    }
    return sum;
}

/* What of them is left, in the same words. */
static void require_row(uint32_t first, const char *wanted)
{
    char text[200] = "";
    for (uint32_t n = first; n != 0; n = part(n)->after) {
        char kind = part(n)->state == PT_HOLE     ? 'h'
                    : part(n)->state == PT_CACHED ? 'w'
                    : part(n)->state == PT_BUSY   ? 'B'
                                                  : 'L';
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%c%zu", len > 0 ? " " : "", kind, part(n)->capacity / MIB);
    }
    ck_assert_str_eq(text, wanted);
}

static const struct {
    const char *row;
    size_t need;
    const char *left; /* NULL: no span */
    unsigned holes;
} rows[] = {
    {"L1 w3 h4 L1", 5, "L1 B3 B2 h2 L1", 2},          /* on into the hole behind it */
    {"L1 h4 w3 L1", 5, "L1 h2 B2 B3 L1", 1},          /* or the end of the one before */
    {"L1 w2 h1 w2 h5 L1", 5, "L1 B2 B1 B2 h5 L1", 2}, /* between two that wait */
    {"L1 w2 h1 w2 h5 L1", 6, "L1 B2 B1 B2 B1 h4 L1", 10},
    {"L1 w1 h2 w3 h2 L1", 4, "L1 w1 h2 B3 B1 h1 L1", 2}, /* the less to lock the better */
    {"L1 w3 L1 h4 L1", 4, NULL, 0},                      /* not across what is in use */
    {"L1 w1 h9 L1", 10, NULL, 0},                        /* nearly all would have to be locked */
    {"L1 w1 h5 L1", 6, "L1 B1 B5 L1", 2},
    {"h9 L1", 4, NULL, 0},
    {"L1 w3 h1 L1", 5, NULL, 0},
};

START_TEST(the_span_that_has_the_least_to_lock)
{
    uint32_t parts[ROW_MOST];
    struct pt_span span;
    start();
    row(0, rows[_i].row, parts);
    size_t waited = pt_free_cache_locked();
    bool found = pt_span_take(rows[_i].need * MIB, &span);
    ck_assert(found == (rows[_i].left != NULL));
    if (found) {
        ck_assert_uint_eq(bytes_of(&span), rows[_i].need * MIB);
        ck_assert_uint_eq(span.holes, rows[_i].holes);
        require_row(parts[0], rows[_i].left);
    } else {
        require_row(parts[0], rows[_i].row);
        ck_assert_uint_eq(pt_free_cache_locked(), waited);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("span");
    tcase_add_loop_test(tests, the_span_that_has_the_least_to_lock, 0, sizeof rows / sizeof *rows);
    return suite_run("span", tests);
}
