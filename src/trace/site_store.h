/* The table's rows of sites, by what they say: two stacks that would read alike in the report are one site. When the
 * rows or the strings run out, sites with nothing alive, lost or there at the peak lose their rows, the longest idle
 * first. Where that is not enough, a stack is told by its nearest line alone, and at last all others are one site: no
 * block goes uncounted. */
#ifndef PT_SITE_STORE_H
#define PT_SITE_STORE_H

#include "ledger/table.h"

/* Rows kept back for nearest lines; one more is that of all others. */
#define PT_SITE_STORE_LINES 256

void pt_site_store_init(void);

/* Makes room for one more site, if there is none and if it can. With no lock held. Returns the era, which ends when
 * strings are given up. */
uint32_t pt_site_store_begin(void);

/* A string for the site that is going to be entered. */
uint32_t pt_site_store_name(const char *s);

/* The site that says the same, or a row of its own; never 0, unless the era is over: then its strings have to be named
 * once more. May shorten it. */
uint32_t pt_site_store_enter(struct pt_site *site, uint32_t era);

/* Where one of the site's native calls lies, unless that is known, or the row is another site's by now. */
void pt_site_store_place(uint32_t site, struct pt_native *native, const char *object, uint32_t at);

#endif
