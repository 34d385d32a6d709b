/* What this process tells the command that started the job (base/job_record.h); nothing where there is no such command.
 * A file is opened and closed again each time, so no descriptor stays. Usable in a signal handler. */
#ifndef PT_JOB_H
#define PT_JOB_H

/* This process has pinned its first block. */
void pt_job_begin(void);

/* Its report was written. */
void pt_job_end(void);

#endif
