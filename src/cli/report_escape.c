#include "cli/report_escape.h"

#define REPLACEMENT 0xfffd

static int more(unsigned char first)
{
    return first < 0x80                    ? 0
           : first >= 0xc2 && first < 0xe0 ? 1
           : first >= 0xe0 && first < 0xf0 ? 2
           : first >= 0xf0 && first < 0xf5 ? 3
                                           : -1;
}

/* A wrong byte is one U+FFFD, and what follows is looked at anew. */
uint32_t pt_escape_next(const char **s)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)*s;
    int n = more(*p);
    if (*p == 0) {
        return 0;
    }
    ++*s;
    uint32_t c = n <= 0 ? *p : *p & (0x3fu >> n);
    for (int i = 1; i <= n; i++) { /* the NUL at the end is no part of a character */
        if ((p[i] & 0xc0) != 0x80) {
            return REPLACEMENT;
        }
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (n < 0 || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        return REPLACEMENT;
    }
    *s += n;
    return c;
}

static void put(FILE *out, uint32_t c)
{
    if (c < 0x80) {
        putc((int)c, out);
    } else if (c < 0x800) {
        fprintf(out, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        fprintf(out, "%c%c%c", 0xe0 | c >> 12, 0x80 | (c >> 6 & 0x3f), 0x80 | (c & 0x3f));
    } else {
        fprintf(out, "%c%c%c%c", 0xf0 | c >> 18, 0x80 | (c >> 12 & 0x3f), 0x80 | (c >> 6 & 0x3f), 0x80 | (c & 0x3f));
    }
}

void pt_escape_json(FILE *out, const char *s)
{
    uint32_t c;
    putc('"', out);
    while ((c = pt_escape_next(&s)) != 0) {
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < ' ' || (c >= 0x7f && c < 0xa0) || c == '<' || c == '>' || c == '&' || c == 0x2028 ||
                   c == 0x2029) {
            fprintf(out, "\\u%04x", c); /* the last two end a line in old JavaScript */
        } else {
            put(out, c);
        }
    }
    putc('"', out);
}

void pt_escape_plain(FILE *out, const char *s)
{
    uint32_t c;
    while ((c = pt_escape_next(&s)) != 0) {
        put(out, c == ';' ? ':' : c < ' ' || (c >= 0x7f && c < 0xa0) ? '?' : c);
    }
}
