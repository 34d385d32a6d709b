#include "ledger/growth.h"

#define RISES_LEAST 3        /* between four windows: the first ones may be warm-up */
#define RISES_CLEAR 6        /* so many in step are no chance, however much comes and goes */
#define VISITS_MANY 8        /* steady for so long is no cache that fills */
#define WENT_ON     4        /* visits after a pause */
#define REST_ALWAYS 50000000 /* ns that any process may take to end */

static void join_windows(struct pt_growth *g)
{
    for (uint32_t i = 0; i < PT_GROWTH_WINDOWS / 2; i++) {
        const struct pt_growth_window *a = &g->window[2 * i], *b = a + 1;
        struct pt_growth_window *to = &g->window[i];
        uint32_t low = a->low < b->low ? a->low : b->low, high = a->high > b->high ? a->high : b->high;
        PT_PUT(to->since_ns, a->since_ns);
        PT_PUT(to->low, low);
        PT_PUT(to->high, high);
    }
    PT_PUT(g->windows, PT_GROWTH_WINDOWS / 2);
    PT_PUT(g->width, g->width * 2);
}

static void open_window(struct pt_growth *g, uint64_t now_ns)
{
    if (g->windows == PT_GROWTH_WINDOWS) {
        join_windows(g);
    }
    struct pt_growth_window *w = &g->window[g->windows];
    PT_PUT(w->low, UINT32_MAX);
    PT_PUT(w->high, 0);
    PT_PUT(w->since_ns, now_ns);
    PT_PUT(g->windows, g->windows + 1);
}

/* The window of the latest visit. */
static inline void widen(struct pt_growth *g, uint64_t low, uint64_t high)
{
    struct pt_growth_window *w = &g->window[g->windows - 1];
    PT_PUT(w->low, low < w->low ? (uint32_t)low : w->low);
    PT_PUT(w->high, high > w->high ? (uint32_t)high : w->high);
}

/* `idle`: the time since the visit before. */
static __attribute__((noinline)) void add_visits(struct pt_growth *g, uint64_t visits, uint64_t low, uint64_t high,
                                                 uint64_t idle, uint64_t now_ns)
{
    PT_PUT(g->idle_ns, 0);
    if (g->visits > 0 && idle >= g->pause_ns) {
        PT_PUT(g->pause_ns, idle);
        PT_PUT(g->pause_visit, g->visits);
    }
    PT_PUT(g->width, g->width == 0 ? 1 : g->width);
    while (visits > 0) {
        uint64_t room = (uint64_t)g->windows * g->width - g->visits;
        if (room == 0) {
            open_window(g, now_ns);
            continue;
        }
        uint64_t n = visits < room ? visits : room;
        widen(g, low, high);
        PT_PUT(g->visits, g->visits + n);
        visits -= n;
    }
}

/* The most alive; or the first of a new beginning, where nothing was left of what the site had. */
static __attribute__((noinline)) void note_height(struct pt_site *s, struct pt_growth *g, uint64_t now_ns,
                                                  uint64_t high)
{
    if (high < g->high) {
        PT_PUT(s->rises, 0);
    }
    PT_PUT(g->high, high);
    PT_PUT(s->rise_ns, now_ns);
    PT_PUT(s->rise_bytes, s->live_bytes);
    if (g->rise_visit != g->visits || s->rises == 0) {
        PT_PUT(g->rise_visit, g->visits);
        PT_PUT(s->rises, s->rises + 1);
    }
    if (s->rises == 1) {
        PT_PUT(s->first_bytes, s->live_bytes);
    }
}

/* For each allocation: what is rare stays out of the way. */
static inline __attribute__((always_inline)) void note(struct pt_site *s, struct pt_growth *g, uint64_t asked_ns,
                                                       uint64_t now_ns, uint64_t order, uint64_t visits, uint64_t low,
                                                       uint64_t high)
{
    uint64_t idle = asked_ns > s->last_ns ? asked_ns - s->last_ns : 0;
    PT_PUT(g->idle_ns, g->idle_ns + idle);
    PT_PUT(s->last_ns, now_ns);
    if (order == g->order + 1 && g->idle_ns <= PT_GROWTH_PAUSE && g->visits > 0) {
        widen(g, low, high);
        visits--;
    }
    if (visits > 0) {
        add_visits(g, visits, low, high, idle, now_ns);
    }
    if (high > g->high || (low == 0 && high < g->high)) {
        note_height(s, g, now_ns, high);
    }
}

void pt_growth_note(struct pt_site *s, struct pt_growth *g, uint64_t asked_ns, uint64_t now_ns, uint64_t order)
{
    note(s, g, asked_ns, now_ns, order, 1, s->live - 1, s->live);
    PT_PUT(g->order, order);
}

void pt_growth_note_many(struct pt_site *s, struct pt_growth *g, uint64_t asked_ns, uint64_t now_ns, uint64_t order,
                         uint64_t last, uint64_t visits, uint64_t low, uint64_t high)
{
    note(s, g, asked_ns, now_ns, order, visits, low, high);
    PT_PUT(g->order, last);
}

/* What is told from the windows. `floor`: the fewest alive from a window on until now, so what came and stayed.
 * `height`: the most alive up to it. Floors alone rise at the end of any noise, since less of it is left to come;
 * heights alone do at its beginning. Both together, in step, say growth. */
struct shape {
    uint32_t floor[PT_GROWTH_WINDOWS], height[PT_GROWTH_WINDOWS];
    uint32_t first, last;  /* windows whose successor is higher, */
    uint32_t rises, pause; /* how many there are, and the most others between two of them */
};

/* The most that was given back, or came and went, from a window on. */
static uint32_t swing(const struct pt_growth *g, uint32_t from)
{
    uint32_t high = 0, most = 0;
    for (uint32_t i = from; i < g->windows; i++) {
        high = g->window[i].high > high ? g->window[i].high : high;
        most = high - g->window[i].low > most ? high - g->window[i].low : most;
    }
    return most;
}

static void look(const struct pt_growth *g, uint64_t live, struct shape *x)
{
    uint32_t n = g->windows, least = live < UINT32_MAX ? (uint32_t)live : UINT32_MAX, most = 0;
    for (uint32_t i = n; i-- > 0;) {
        least = g->window[i].low < least ? g->window[i].low : least;
        x->floor[i] = least;
    }
    for (uint32_t i = 0; i < n; i++) {
        most = g->window[i].high > most ? g->window[i].high : most;
        x->height[i] = most;
    }
    /* What was given back at the beginning may be more than all that is lost later: then floors suffice, if clear
     * enough. */
    bool suffice = (x->floor[n - 1] - x->floor[n / 4]) / 2 >= swing(g, n / 4);
    x->rises = x->first = x->last = x->pause = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        /* A block that stays raises the height of its own window, and the floor of the next. */
        bool higher = suffice || x->height[i + 1] > (i > 1 ? x->height[i - 2] : 0);
        if (x->floor[i + 1] > x->floor[i] && higher) {
            if (x->rises++ == 0) {
                x->first = i;
            } else if (i - x->last - 1 > x->pause) {
                x->pause = i - x->last - 1;
            }
            x->last = i;
        }
    }
}

/* The time that the latest windows took since the site began to rise, in percent. One long pause after which all went
 * on as before is left out: an evaluation. */
static uint64_t late_share(const struct pt_growth *g, const struct shape *x, uint64_t ended_ns, uint32_t latest)
{
    uint32_t late = g->windows - 1 - latest;
    uint64_t begun_ns = g->window[x->first].since_ns, late_ns = g->window[late].since_ns;
    bool went_on = g->pause_visit > (uint64_t)late * g->width && g->visits - g->pause_visit >= WENT_ON;
    uint64_t pause = went_on ? g->pause_ns : 0;
    if (ended_ns <= late_ns + pause || ended_ns <= begun_ns + pause) { /* threads tell a little late */
        return 0;
    }
    return (ended_ns - late_ns - pause) * 100 / (ended_ns - begun_ns - pause);
}

/* Whether its visits get rarer, as those of a cache that fills: the last eighth took longer than all others, or the
 * last third took most of the time. Where these are many visits, what went before them may have been a start. */
static bool rarer(const struct pt_growth *g, const struct shape *x, uint64_t ended_ns)
{
    uint32_t n = g->windows - 1 - x->first, third = n / 3 > 0 ? n / 3 : 1;
    return (n >= 8 && late_share(g, x, ended_ns, n / 8) > 50) ||
           (third * g->width < VISITS_MANY && late_share(g, x, ended_ns, third) > 80);
}

bool pt_growth_judge(const struct pt_site *s, const struct pt_growth *g, uint64_t now_ns)
{
    uint32_t n = g->windows;
    if (n <= RISES_LEAST) {
        return false;
    }
    struct shape x;
    look(g, s->live, &x);
    uint32_t flat = n - 2 - x.last;
    if (x.rises < RISES_LEAST || flat > 3 * x.pause + 1) {
        return false; /* visited since, and it did not rise */
    }
    uint32_t late = n - 1 - n / 8;
    bool clear = late > x.first && x.floor[late] - x.floor[x.first + 1] >= swing(g, x.first + 1);
    if (!clear && x.rises < RISES_CLEAR) {
        return false; /* after the first rise, and before the latest visits, no more than comes and goes */
    }
    uint64_t begun = g->window[x.first].since_ns, ended = flat == 0 ? s->last_ns : g->window[x.last + 1].since_ns;
    if (now_ns > ended + (ended - begun) + REST_ALWAYS) {
        return false; /* it has been resting for longer than it rose: made once, and used since */
    }
    return !rarer(g, &x, ended);
}

typedef uint64_t __attribute__((may_alias)) word;

void pt_growth_forget(uint32_t site)
{
    struct pt_growth *g = pt_table_growth(site);
    for (size_t i = 0; i < sizeof *g / sizeof(word); i++) {
        PT_PUT(((word *)g)[i], 0);
    }
}

void pt_growth_judge_all(struct pt_site *all, uint32_t sites, uint64_t now_ns)
{
    for (uint32_t number = 1; number < sites; number++) {
        struct pt_site s; /* other threads may go on */
        struct pt_growth history;
        pt_table_copy_site(&all[number], &s);
        pt_table_copy(pt_table_growth(number), &history, sizeof history);
        PT_PUT(all[number].growing, pt_growth_judge(&s, &history, now_ns));
    }
}

uint64_t pt_growth_step(const struct pt_site *s)
{
    return s->rises > 1 && s->rise_bytes > s->first_bytes ? (s->rise_bytes - s->first_bytes) / (s->rises - 1)
                                                          : s->rise_bytes;
}
