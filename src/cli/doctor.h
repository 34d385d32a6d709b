/* `pintensor doctor`: what can be locked here, and what would stop it. */
#ifndef PT_CLI_DOCTOR_H
#define PT_CLI_DOCTOR_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* NOTE: worth knowing, and it stops nothing. */
enum pt_doctor_state { PT_DOCTOR_OK, PT_DOCTOR_NOTE, PT_DOCTOR_STOPS };

/* What a check tells besides its state: in words, and the most bytes that it lets a process lock. */
struct pt_doctor_finding {
    struct pt_text words;
    uint64_t most; /* UINT64_MAX at first */
};

typedef enum pt_doctor_state pt_doctor_check(struct pt_doctor_finding *f);

/* The checks, in the files doctor_*.c. */
#define X(name, check, fix) pt_doctor_check pt_doctor_##check;
#include "cli/doctor.def"
#undef X

/* Whether a GPU can be used, so that registering it locks what mlock may not. */
bool pt_doctor_has_gpu(void);

/* Looks at everything and says it on stdout. Returns the exit status: 0, or 1 if something would stop a job. */
int pt_doctor(bool json);

#endif
