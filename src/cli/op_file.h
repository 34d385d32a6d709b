/* Shared objects as files: they are read, not loaded, and may be damaged. */
#ifndef PT_CLI_OP_FILE_H
#define PT_CLI_OP_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum pt_op { PT_OP_NONE, PT_OP_REACHED, PT_OP_UNREACHABLE };

/* Whether it is an op with DeepSpeed's pinned-tensor manager, and whether its calls of that can come to a preload. One
 * linked with -Bsymbolic-functions exports the manager, and nothing is left for the dynamic linker to bind. */
enum pt_op pt_op_file(const char *path);

/* Which dynamic linker a program asks for. False: none, so it is no program or linked statically. */
bool pt_op_file_interpreter(const char *path, char *out, size_t cap);

#endif
