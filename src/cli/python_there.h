/* The Python that a job would run under, and what it would import, without importing it. */
#ifndef PT_CLI_PYTHON_THERE_H
#define PT_CLI_PYTHON_THERE_H

#include <stdbool.h>

/* Empty where there is none. */
struct pt_python_there {
    char program[1024], version[32]; /* which interpreter: the first python3, else python, on PATH */
    char torch[1024], torch_version[64];
    char deepspeed[1024], deepspeed_version[64];
    char why[128]; /* it could not be asked */
};

/* Asked once, which takes up to a minute where file systems are slow. */
const struct pt_python_there *pt_python_there(void);

/* The minor version of its torch 2; 0: it has none, or another torch. */
int pt_python_torch_minor(void);

/* Whether that torch's pinned memory can be served. */
bool pt_python_torch_is_served(void);

#endif
