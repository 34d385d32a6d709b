/* What people write for a limit (PINTENSOR_LIMIT), taken apart: `8G`, `50%`, `soft:6G,8G`, `node:64G`. A leaf. */
#ifndef PT_LIMIT_TEXT_H
#define PT_LIMIT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* What is shared out, and how strictly. */
enum pt_limit_whose { PT_LIMIT_PROCESS, PT_LIMIT_NODE, PT_LIMIT_WHOSE };
enum pt_limit_how { PT_LIMIT_HARD, PT_LIMIT_SOFT, PT_LIMIT_HOW };

struct pt_limit_text {
    struct pt_limit_amount {
        bool given, percent;
        uint64_t amount; /* bytes, or percent of all memory */
    } of[PT_LIMIT_WHOSE][PT_LIMIT_HOW];
};

/* Returns 0 or -EINVAL. An empty text is no limit. */
int pt_limit_text_parse(const char *s, struct pt_limit_text *out);

/* What may be written, in a few words. */
#define PT_LIMIT_TEXT_FORMS "a limit such as 8G, 50%, soft:6G,8G or node:64G"

#endif
