/* The dynamic linker's two locks, which are only ever tried. One is held while a library is loaded, and while its
 * constructors run: one of them may wait for a thread that pins. The other is held around each change of the list of
 * objects, and by dl_iterate_phdr(). In a forked child either may stay locked for ever. Whoever gets neither goes on
 * without what he wanted to know, and asks again the next time. A leaf. */
#ifndef PT_LINKER_H
#define PT_LINKER_H

#include <stdbool.h>

/* The list of objects stands still from here on, so dl_iterate_phdr() waits for nobody. Each true wants an end. */
bool pt_linker_list_begin(void);
void pt_linker_list_end(void);

/* Nobody loads or unloads anything from here on, and all there is has been set up; dlopen() waits for nobody. Whoever
 * is at it is given a moment, but all those moments of a process are a tenth of a second. Nothing may be waited for
 * before the end. */
bool pt_linker_begin(void);
void pt_linker_end(void);

#endif
