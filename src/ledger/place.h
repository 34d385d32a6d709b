/* Places in words, as people read them: from the table alone, so that the command can say them too. */
#ifndef PT_PLACE_H
#define PT_PLACE_H

#include "base/text.h"
#include "ledger/table.h"

/* Which frame of a site to show first: the user's own innermost, else the innermost; -1 if there is none. */
int pt_place_top(const struct pt_site *site);

/* The user's own line that called a frame, or came to it by others' code; -1: none is known. */
int pt_place_caller(const struct pt_site *site, int frame);

/* One frame: "train.py:41  collect"; a native one: "libfoo.so  bar+0x12". */
void pt_place_frame(const struct pt_frame *f, struct pt_text *out);

/* Whether anything is known of it. */
bool pt_place_is_known(const struct pt_site *s);

/* A site in one phrase: "train.py:41  collect". */
void pt_place_of_site(const struct pt_site *s, struct pt_text *out);

/* The same of a site that may be another's by now. */
void pt_place_of(uint32_t site, struct pt_text *out);

#endif
