#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

void pt_log_begin(struct pt_text *t, char *buf, size_t cap)
{
    pt_text_init(t, buf, cap - 1, -1); /* the last byte is the newline's */
    pt_text_add(t, "pintensor: ");
}

void pt_log_end(struct pt_text *t)
{
    t->cap++;
    pt_text_add(t, "\n");
    t->fd = STDERR_FILENO;
    pt_text_flush(t);
}

int pt_log_rank(void)
{
    static const char *const names[] = {"RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        uint64_t rank;
        if (value != NULL && pt_text_parse_u64(value, &rank) == 0 && rank < INT32_MAX) {
            return (int)rank;
        }
    }
    return -1;
}
