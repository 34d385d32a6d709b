/* The Python interpreter of this process, if it has one, through its exported C API found at run time. Calls here
 * may run Python code: never make them with a lock of ours held, nor in a deleter. None waits for the GIL, except in a
 * thread of our own: who holds it may be waiting for a lock of our caller's. */
#ifndef PT_PYTHON_H
#define PT_PYTHON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_python_frame {
    void *code;   /* borrowed: valid while the frame runs */
    int32_t last; /* which instruction of it */
};

/* Looks the API up again: at the first block, and in a forked child. */
void pt_python_init(void);

/* What this thread has of Python: nothing; the GIL; or a past in it, without the GIL. */
enum pt_python_gil { PT_PYTHON_NONE, PT_PYTHON_HELD, PT_PYTHON_RELEASED };
enum pt_python_gil pt_python_gil(void);

/* With the GIL held: true unless an error is on its way to the caller, which Python calls of ours would mix up. */
bool pt_python_quiet(void);

/* For a thread of ours that holds no lock: takes the GIL and stops the garbage collector, which would run Python code.
 */
bool pt_python_may_ask(void);
bool pt_python_enter_alone(int *token, int *collecting);
void pt_python_leave_alone(int token, int collecting);

/* This thread's PyThreadState; NULL if it has none. */
void *pt_python_thread_state(void);

/* The running frames of a thread, innermost first, and where the interpreter itself has them, or zeros. With the GIL,
 * and the thread standing still. */
unsigned pt_python_frames(void *thread_state, struct pt_python_frame *out, uintptr_t *at, unsigned most);

/* The innermost of this thread alone, which costs a fraction. With the GIL. */
bool pt_python_frame(struct pt_python_frame *out);

/* File, function and line of a frame; empty strings when Python cannot tell. With the GIL. */
void pt_python_describe(const struct pt_python_frame *f, char *file, char *function, unsigned size, uint32_t *line);

/* Has `ended` called when the code object comes to its end, before its memory can be anybody else's; `ended` must not
 * call Python. With the GIL; may run Python code. False: it cannot be done. */
bool pt_python_watch(void *code, void (*ended)(void *code));

/* The line of a frame; and of an instruction, in bytes from the first. 0: unknown. With the GIL. */
int pt_python_frame_line(const struct pt_python_frame *f);
int pt_python_line(void *code, int instruction);

/* Which 3.x this is, if each thread's frames belong to it alone; 0: they do not (free-threaded), or that is unknown. */
int pt_python_minor(void);

/* Between the two the interpreter is not taken apart, GIL or not. False: it is. For a moment, without a wait. */
bool pt_python_hold(void);
void pt_python_let_go(void);

/* Has Python call the one when its main interpreter begins to exit, without the GIL; then the next with it; the last
 * when that is done: a program that embeds Python may go on. With the GIL; false in a sub-interpreter, whose end says
 * nothing. */
bool pt_python_at_exit(void (*begins)(void), void (*begun)(void), void (*over)(void));

/* Runs a source and calls a function of it, by (bytes, int) -> str, whose result is copied as far as there is room.
 * False: nothing was learnt; what went wrong is forgotten. Runs Python code: with the GIL, no error on its way, and no
 * lock of ours. */
bool pt_python_run(const char *source, const char *function, const void *raw, size_t len, unsigned number, char *out,
                   size_t size);

/* Whether this is the main interpreter, and each object is told of by its collector as one thread alone sees it. */
bool pt_python_may_walk(void);

/* From now on the interpreter is left alone: waits for those who hold it. */
void pt_python_gone(void);

#endif
