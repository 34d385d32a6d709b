/* A library whose constructor runs before the preload's, and aborts. */
#include <stdlib.h>

__attribute__((constructor)) static void early(void)
{
    if (getenv("ABORT_EARLY") != NULL) {
        abort();
    }
}
