/* The Python interpreter of this process, if it has one, through its exported C API found at run time. Calls here
 * may run Python code and take the GIL: never make them with a lock of ours held, nor in a deleter. */
#ifndef PT_PYTHON_H
#define PT_PYTHON_H

#include <stdbool.h>
#include <stdint.h>

struct pt_python_frame {
    void *code;   /* borrowed; valid while the frame runs, or for ever after pt_python_keep */
    int32_t last; /* which instruction of it */
};

/* Looks the API up again: at the first block, and in a forked child. */
void pt_python_init(void);

/* Whether this thread can have the GIL: it has run Python before and the interpreter is not going away. */
enum pt_python_gil { PT_PYTHON_NONE, PT_PYTHON_HELD, PT_PYTHON_WAIT };
enum pt_python_gil pt_python_gil(void);

/* Takes the GIL, after pt_python_gil() said HELD or WAIT. `token` goes to pt_python_leave. False: an error is on its way
 * to the caller, which Python calls of ours would mix up; nothing was taken. */
bool pt_python_enter(enum pt_python_gil gil, int *token);
void pt_python_leave(int token);

/* The running frames of this thread, innermost first. Between enter and leave. */
unsigned pt_python_frames(struct pt_python_frame *out, unsigned most);

/* The innermost alone, which costs a fraction. */
bool pt_python_frame(struct pt_python_frame *out);

/* File, function and line of a frame; empty strings when Python cannot tell. Between enter and leave. */
void pt_python_describe(const struct pt_python_frame *f, char *file, char *function, unsigned size,
                        uint32_t *line);
void pt_python_keep(void *code);

/* Has Python call `fn` when the interpreter begins to exit. Between enter and leave. */
bool pt_python_at_exit(void (*fn)(void));

/* From now on the interpreter is left alone. */
void pt_python_gone(void);

#endif
