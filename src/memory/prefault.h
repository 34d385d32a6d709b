/* Touching memory by several threads: the kernel clears pages one at a time a thread, and for a large block that is
 * nearly all there is to do. A leaf. */
#ifndef PT_PREFAULT_H
#define PT_PREFAULT_H

#include <stddef.h>

#define PT_PREFAULT_LEAST ((size_t)64 << 20) /* below this, starting threads costs more than they save */

/* Makes the pages of the range present, on as many processors as this thread may use. A hint: what could not be touched
 * is left to whoever needs it. The threads are gone when it returns. */
void pt_prefault(void *p, size_t len);

#endif
