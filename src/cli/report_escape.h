/* Names as JSON and folded stacks want them. They come from programs, so bytes that are no UTF-8 become U+FFFD. */
#ifndef PT_CLI_REPORT_ESCAPE_H
#define PT_CLI_REPORT_ESCAPE_H

#include <stdint.h>
#include <stdio.h>

/* The next character, which *s is moved behind; 0 at the end. */
uint32_t pt_escape_next(const char **s);

/* With its quotes. Holds no '<', '>' or '&', so that it may stand in a page too. */
void pt_escape_json(FILE *out, const char *s);

/* Without the ';' that parts frames; nor what steers a terminal. */
void pt_escape_plain(FILE *out, const char *s);

#endif
