/* File and line of native frames, from the debug information of the objects on this machine, if they are still those that
 * ran. By elfutils' libdw; without it frames stay as they are: object, symbol and offset. */
#ifndef PT_CLI_NATIVE_LINES_H
#define PT_CLI_NATIVE_LINES_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this command can read debug information here. */
bool pt_native_lines_can(void);

/* Names the frames of the table that was loaded last. Of a frame that was named pt_natives has the words that stood there,
 * `at` the function and `object` the file: a site's id is made of those. One call may have become several frames; all but
 * the first, and those of a caller that is no frame itself, have PT_NATIVE_MORE. */
void pt_native_lines_add(void);

#define PT_NATIVE_MORE UINT32_MAX

#endif
