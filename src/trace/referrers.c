#include "trace/referrers.h"

#include "memory/pages.h"
#include "trace/python.h"

#include <stdlib.h>
#include <string.h>

#define EACH_MOST 3 /* ways to the blocks of one site */
#define TEXT_MOST ((size_t)64 << 10)

static const char source[] = {
#include "trace/referrers.def"
    0};

/* ROW \t BLOCKS \t BYTES \t WORDS. Control characters in names are none any more. */
static bool read_line(char *line, struct pt_held_by *h)
{
    char *at = line;
    *h = (struct pt_held_by){.row = (uint32_t)strtoul(at, &at, 10)};
    h->blocks = (uint32_t)strtoul(at, &at, 10);
    h->bytes = strtoull(at, &at, 10);
    if (*at != '\t') {
        return false;
    }
    size_t len = strnlen(at + 1, sizeof h->words - 1);
    while (len > 0 && ((unsigned char)at[1 + len] & 0xc0) == 0x80) {
        len--; /* no half of a character */
    }
    memcpy(h->words, at + 1, len);
    return true;
}

static uint32_t of_row(const struct pt_held_by *all, uint32_t count, uint32_t row)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        n += all[i].row == row;
    }
    return n;
}

uint32_t pt_referrers_find(const struct pt_referrers_block *block, size_t blocks, unsigned seconds,
                           struct pt_held_by *out, uint32_t most)
{
    char *text = pt_python_may_walk() ? pt_pages_scratch(TEXT_MOST) : NULL, *rest = NULL;
    uint32_t n = 0;
    if (text == NULL) {
        return 0;
    }
    bool told = pt_python_run(source, "find", block, blocks * sizeof *block, seconds, text, TEXT_MOST);
    for (char *line = told ? strtok_r(text, "\n", &rest) : NULL; line != NULL && n < most;
         line = strtok_r(NULL, "\n", &rest)) {
        if (read_line(line, &out[n]) && of_row(out, n, out[n].row) < EACH_MOST) {
            n++;
        }
    }
    pt_pages_scratch_end(text, TEXT_MOST);
    return n;
}
