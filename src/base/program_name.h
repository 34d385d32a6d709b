/* What people call the program: the script that an interpreter runs, or else the program's own name. A leaf. */
#ifndef PT_PROGRAM_NAME_H
#define PT_PROGRAM_NAME_H

#include "base/text.h"

/* Of this process, from /proc, by one thread at a time; its own name where no file may be opened. */
void pt_program_name_add(struct pt_text *t, bool may_open);

/* Of a command line: `n` bytes, each word ended by a NUL. False: it does not tell. */
bool pt_program_name_of(const char *words, size_t n, struct pt_text *t);

#endif
