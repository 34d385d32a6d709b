#include "base/limit_text.h"

#include <errno.h>
#include <string.h>

#define BYTES_MOST ((uint64_t)1 << 60)

static bool skip(const char **s, const char *word)
{
    size_t len = strlen(word);
    bool is = strncmp(*s, word, len) == 0;
    *s += is ? len : 0;
    return is;
}

/* K, M, G or T, with or without `iB` or `B` behind it, are powers of 1024; a number alone is bytes. */
static unsigned shift_of(const char **s)
{
    static const char letters[] = "KMGT";
    char c = **s >= 'a' && **s <= 'z' ? (char)(**s - 'a' + 'A') : **s;
    const char *at = c != '\0' ? strchr(letters, c) : NULL;
    if (at == NULL) {
        (void)skip(s, "B");
        return 0;
    }
    (*s)++;
    (void)(skip(s, "iB") || skip(s, "B"));
    return 10 * (unsigned)(at - letters + 1);
}

static int parse_amount(const char **s, struct pt_limit_amount *out)
{
    uint64_t n = 0;
    if (out->given || **s < '0' || **s > '9') {
        return -EINVAL;
    }
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        n = 10 * n + (uint64_t)(**s - '0');
        if (n > BYTES_MOST) {
            return -EINVAL;
        }
    }
    bool percent = skip(s, "%");
    unsigned shift = percent ? 0 : shift_of(s);
    if (percent ? n > 100 : n > BYTES_MOST >> shift) {
        return -EINVAL;
    }
    *out = (struct pt_limit_amount){.given = true, .percent = percent, .amount = n << shift};
    return 0;
}

int pt_limit_text_parse(const char *s, struct pt_limit_text *out)
{
    *out = (struct pt_limit_text){0};
    while (*s != '\0') {
        enum pt_limit_whose whose = skip(&s, "node:") ? PT_LIMIT_NODE : PT_LIMIT_PROCESS;
        enum pt_limit_how how = skip(&s, "soft:") ? PT_LIMIT_SOFT : PT_LIMIT_HARD;
        if (how == PT_LIMIT_HARD) {
            (void)skip(&s, "hard:");
        }
        if (parse_amount(&s, &out->of[whose][how]) != 0 || (*s != '\0' && !(skip(&s, ",") && *s != '\0'))) {
            return -EINVAL;
        }
    }
    return 0;
}
