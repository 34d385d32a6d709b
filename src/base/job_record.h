/* How the processes of a job tell `pintensor run` of themselves: files in a directory that the command made, named by a
 * variable. Empty ones say by their name that pintensor is in a rank. A leaf, of names alone. */
#ifndef PT_JOB_RECORD_H
#define PT_JOB_RECORD_H

/* No name of an option's, so nobody takes it for one. */
#define PT_JOB_VARIABLE "_PINTENSOR_JOB"

/* rank.RANK.LOCAL.LOCALS.HOST: LOCALS ranks run on this machine, from 0 on, and this is LOCAL of them. */
#define PT_JOB_RANK "rank."

/* process.PID.NANOSECONDS.HOST, made at the process's first block. Its lines:
 *   begun RANK PROGRAM           RANK is -1 where the launcher named none
 *   ended SITES BYTES            what it lost; missing where the process was killed */
#define PT_JOB_PROCESS "process."

#endif
