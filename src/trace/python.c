#include "trace/python.h"

#include "base/libraries.h"
#include "base/wait.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The functions of CPython used here. `needed` ones exist since 3.9; without any of them there are no Python
 * frames. */
#define FUNCTIONS(F)                                                                                                   \
    F(int, Py_IsInitialized, (void), 1)                                                                                \
    F(int, PyGILState_Check, (void), 1)                                                                                \
    F(int, PyGILState_Ensure, (void), 1)                                                                               \
    F(void, PyGILState_Release, (int), 1)                                                                              \
    F(void *, PyGILState_GetThisThreadState, (void), 1)                                                                \
    F(void *, PyThreadState_GetFrame, (void *), 1)                                                                     \
    F(void *, PyEval_GetFrame, (void), 1)                                                                              \
    F(void *, PyFrame_GetBack, (void *), 1)                                                                            \
    F(void *, PyFrame_GetCode, (void *), 1)                                                                            \
    F(int, PyFrame_GetLineNumber, (void *), 1)                                                                         \
    F(int, PyFrame_GetLasti, (void *), 0) /* 3.11 */                                                                   \
    F(int, PyCode_Addr2Line, (void *, int), 1)                                                                         \
    F(const char *, Py_GetVersion, (void), 0)                                                                          \
    F(void, _Py_DecRefShared, (void *), 0) /* free-threaded builds alone */                                            \
    F(void, Py_IncRef, (void *), 1)                                                                                    \
    F(void, Py_DecRef, (void *), 1)                                                                                    \
    F(void *, PyObject_GetAttrString, (void *, const char *), 1)                                                       \
    F(const char *, PyUnicode_AsUTF8, (void *), 1)                                                                     \
    F(void *, PyUnicode_FromString, (const char *), 1)                                                                 \
    F(void *, PyBytes_FromStringAndSize, (const char *, ptrdiff_t), 1)                                                 \
    F(void *, PyLong_FromLong, (long), 1)                                                                              \
    F(void *, PyDict_New, (void), 1)                                                                                   \
    F(int, PyDict_SetItemString, (void *, const char *, void *), 1)                                                    \
    F(void *, PyDict_GetItemString, (void *, const char *), 1)                                                         \
    F(void *, PyErr_Occurred, (void), 1)                                                                               \
    F(void, PyErr_Clear, (void), 1)                                                                                    \
    F(void *, PyImport_ImportModule, (const char *), 1)                                                                \
    F(void *, PyCFunction_NewEx, (void *, void *, void *), 1)                                                          \
    F(void *, PyObject_CallFunctionObjArgs, (void *, ...), 1)                                                          \
    F(void *, PyWeakref_NewRef, (void *, void *), 1)                                                                   \
    F(void *, PyLong_FromVoidPtr, (void *), 1)                                                                         \
    F(void *, PyLong_AsVoidPtr, (void *), 1)                                                                           \
    F(void *, PyInterpreterState_Get, (void), 1)                                                                       \
    F(void *, PyInterpreterState_Main, (void), 1)                                                                      \
    F(void *, PyEval_SaveThread, (void), 1)                                                                            \
    F(void, PyEval_RestoreThread, (void *), 1)                                                                         \
    F(int, Py_AtExit, (void (*)(void)), 1)                                                                             \
    F(int, PyGC_Disable, (void), 0) /* 3.10 */                                                                         \
    F(int, PyGC_Enable, (void), 0)                                                                                     \
    F(void *, PyThreadState_GetUnchecked, (void), 0)  /* 3.13 */                                                       \
    F(void *, _PyThreadState_UncheckedGet, (void), 0) /* before */                                                     \
    F(int, Py_IsFinalizing, (void), 0)                /* 3.13 */                                                       \
    F(int, _Py_IsFinalizing, (void), 0)               /* before */

static struct {
#define F(result, name, arguments, needed) result(*name) arguments;
    FUNCTIONS(F)
#undef F
    void *none;
} py;

static bool usable;
static int minor; /* pt_python_minor() */
static _Atomic bool gone;
static _Atomic unsigned holders;

void pt_python_init(void)
{
    usable = true;
    atomic_store(&holders, 0);
    atomic_store(&gone, false);
    struct pt_library python;
    bool there = pt_libraries_with("Py_IsInitialized", &python) == 0;
#define F(result, name, arguments, needed)                                                                             \
    *(void **)&py.name = there ? pt_elf_symbol(&python.elf, #name) : NULL;                                             \
    usable = usable && (py.name != NULL || !(needed));
    FUNCTIONS(F)
#undef F
    py.none = there ? pt_elf_symbol(&python.elf, "_Py_NoneStruct") : NULL;
    usable = usable && py.none != NULL;
    const char *version = py.Py_GetVersion != NULL && py._Py_DecRefShared == NULL ? py.Py_GetVersion() : "";
    minor = strncmp(version, "3.", 2) == 0 ? atoi(version + 2) : 0;
}

static bool finalizing(void)
{
    return py.Py_IsFinalizing != NULL    ? py.Py_IsFinalizing() != 0
           : py._Py_IsFinalizing != NULL ? py._Py_IsFinalizing() != 0
                                         : false;
}

static bool running(void)
{
    return usable && !atomic_load_explicit(&gone, memory_order_relaxed) && py.Py_IsInitialized() != 0 && !finalizing();
}

/* PyGILState_Check() says yes to everybody once there are sub-interpreters; the running thread's state does not. */
static bool holds_gil(void *thread_state)
{
    if (py.PyThreadState_GetUnchecked != NULL) {
        return py.PyThreadState_GetUnchecked() == thread_state;
    }
    if (py._PyThreadState_UncheckedGet != NULL) {
        return py._PyThreadState_UncheckedGet() == thread_state;
    }
    return py.PyGILState_Check() != 0;
}

enum pt_python_gil pt_python_gil(void)
{
    void *thread_state = pt_python_thread_state();
    if (thread_state == NULL) {
        return PT_PYTHON_NONE;
    }
    return holds_gil(thread_state) ? PT_PYTHON_HELD : PT_PYTHON_RELEASED;
}

bool pt_python_quiet(void)
{
    return py.PyErr_Occurred() == NULL;
}

void *pt_python_thread_state(void)
{
    return running() ? py.PyGILState_GetThisThreadState() : NULL;
}

bool pt_python_may_ask(void)
{
    return running() && py.PyGC_Disable != NULL && py.PyGC_Enable != NULL;
}

bool pt_python_enter_alone(int *token, int *collecting)
{
    if (!pt_python_may_ask()) {
        return false;
    }
    *token = py.PyGILState_Ensure();
    *collecting = py.PyGC_Disable();
    return true;
}

void pt_python_leave_alone(int token, int collecting)
{
    if (collecting != 0) {
        (void)py.PyGC_Enable();
    }
    py.PyGILState_Release(token);
}

/* From 3.11 on a frame object is made for who asks, and leads to the interpreter's own frame: behind its head and
 * f_back. */
static uintptr_t place_of(void *frame)
{
    return minor >= 11 ? ((const uintptr_t *)frame)[3] : minor > 0 ? (uintptr_t)frame : 0;
}

static void read_frame(void *frame, struct pt_python_frame *out)
{
    out->code = py.PyFrame_GetCode(frame);
    out->last = py.PyFrame_GetLasti != NULL ? py.PyFrame_GetLasti(frame) : py.PyFrame_GetLineNumber(frame);
    py.Py_DecRef(out->code); /* the running frame keeps it */
}

bool pt_python_frame(struct pt_python_frame *out)
{
    void *frame = py.PyEval_GetFrame();
    if (frame != NULL) {
        read_frame(frame, out);
    }
    return frame != NULL;
}

unsigned pt_python_frames(void *thread_state, struct pt_python_frame *out, uintptr_t *at, unsigned most)
{
    unsigned n = 0;
    void *frame = py.PyThreadState_GetFrame(thread_state);
    while (frame != NULL && n < most) {
        read_frame(frame, &out[n]);
        at[n++] = place_of(frame);
        void *back = py.PyFrame_GetBack(frame);
        py.Py_DecRef(frame);
        frame = back;
    }
    if (frame != NULL) {
        py.Py_DecRef(frame);
    }
    return n;
}

/* What is not NULL of them; and an error that came of making them is forgotten. */
static void drop(void *const *objects, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (objects[i] != NULL) {
            py.Py_DecRef(objects[i]);
        }
    }
    if (py.PyErr_Occurred() != NULL) {
        py.PyErr_Clear();
    }
}

static void copy_attribute(void *object, const char *name, char *out, unsigned size)
{
    out[0] = '\0';
    void *value = py.PyObject_GetAttrString(object, name);
    const char *text = value != NULL ? py.PyUnicode_AsUTF8(value) : NULL;
    if (text != NULL) {
        size_t len = strlen(text);
        /* The end of a long path says more than its beginning. */
        memcpy(out, len < size ? text : text + len - size + 1, (len < size ? len : size - 1) + 1);
    }
    drop(&value, 1);
}

int pt_python_line(void *code, int instruction)
{
    return py.PyCode_Addr2Line(code, instruction);
}

int pt_python_frame_line(const struct pt_python_frame *f)
{
    return py.PyFrame_GetLasti != NULL ? pt_python_line(f->code, f->last) : f->last;
}

void pt_python_describe(const struct pt_python_frame *f, char *file, char *function, unsigned size, uint32_t *line)
{
    copy_attribute(f->code, "co_filename", file, size);
    copy_attribute(f->code, "co_name", function, size);
    int at = pt_python_frame_line(f);
    *line = at > 0 ? (uint32_t)at : 0;
}

int pt_python_minor(void)
{
    return minor;
}

bool pt_python_hold(void)
{
    atomic_fetch_add(&holders, 1);
    bool there = !atomic_load(&gone);
    if (!there) {
        pt_python_let_go();
    }
    return there;
}

void pt_python_let_go(void)
{
    atomic_fetch_sub(&holders, 1);
}

/* PyMethodDef, whose layout is part of Python's stable ABI. */
struct method {
    const char *name;
    void *(*function)(void *, void *);
    int flags;
    const char *doc;
};

static void (*code_ended)(void *code);

/* The end of a weak reference, which is ours: nobody else has it. */
static void *call_code_ended(void *address, void *reference)
{
    code_ended(py.PyLong_AsVoidPtr(address));
    py.Py_DecRef(reference);
    py.Py_IncRef(py.none);
    return py.none;
}

bool pt_python_watch(void *code, void (*ended)(void *code))
{
    static struct method method = {"pintensor_code_ended", call_code_ended, 0x0008 /* METH_O */, NULL};
    code_ended = ended;
    void *address = py.PyLong_FromVoidPtr(code);
    void *callable = address != NULL ? py.PyCFunction_NewEx(&method, address, NULL) : NULL;
    void *reference = callable != NULL ? py.PyWeakref_NewRef(code, callable) : NULL;
    void *const ours[] = {callable, address}; /* they go with the reference */
    drop(ours, sizeof ours / sizeof ours[0]);
    return reference != NULL;
}

static void (*at_exit)(void), (*after_that)(void);

static void *call_at_exit(void *self, void *arguments)
{
    (void)self;
    (void)arguments;
    /* Who waits for the GIL now had better have it: Python ends a thread that still does when it goes away, which
     * aborts the process where that is in a destructor of C++'s (torch's gloo threads drop tensors). */
    void *state = py.PyEval_SaveThread();
    at_exit();
    py.PyEval_RestoreThread(state);
    after_that();
    py.Py_IncRef(py.none);
    return py.none;
}

bool pt_python_at_exit(void (*begins)(void), void (*begun)(void), void (*over)(void))
{
    if (py.PyInterpreterState_Get() != py.PyInterpreterState_Main()) {
        return false;
    }
    static struct method method = {"pintensor_exit_begins", call_at_exit, 0x0004 /* METH_NOARGS */, NULL};
    at_exit = begins;
    after_that = begun;
    void *module = py.PyImport_ImportModule("atexit");
    void *reg = module != NULL ? py.PyObject_GetAttrString(module, "register") : NULL;
    void *callable = reg != NULL ? py.PyCFunction_NewEx(&method, NULL, NULL) : NULL;
    void *result = callable != NULL ? py.PyObject_CallFunctionObjArgs(reg, callable, NULL) : NULL;
    bool done = result != NULL;
    void *const all[] = {result, callable, reg, module};
    drop(all, sizeof all / sizeof all[0]);
    if (done) {
        (void)py.Py_AtExit(over); /* it has 32 places: without one, the end of Python is the program's */
    }
    return done;
}

bool pt_python_may_walk(void)
{
    return usable && minor >= 9 && py.PyInterpreterState_Get() == py.PyInterpreterState_Main();
}

/* The namespace, in which the source has run. Its code is told from the program's by its file. */
static void *namespace_of(const char *source)
{
    void *space = py.PyDict_New(), *text = py.PyUnicode_FromString(source);
    void *name = py.PyUnicode_FromString("<pintensor>"), *mode = py.PyUnicode_FromString("exec");
    void *builtins = py.PyImport_ImportModule("builtins");
    void *compile = builtins != NULL ? py.PyObject_GetAttrString(builtins, "compile") : NULL;
    void *exec = builtins != NULL ? py.PyObject_GetAttrString(builtins, "exec") : NULL;
    bool ready = space != NULL && text != NULL && name != NULL && mode != NULL && compile != NULL && exec != NULL &&
                 py.PyDict_SetItemString(space, "__name__", name) == 0;
    void *code = ready ? py.PyObject_CallFunctionObjArgs(compile, text, name, mode, NULL) : NULL;
    void *done = code != NULL ? py.PyObject_CallFunctionObjArgs(exec, code, space, NULL) : NULL;
    void *const ours[] = {text, name, mode, builtins, compile, exec, code, done, done == NULL ? space : NULL};
    drop(ours, sizeof ours / sizeof ours[0]);
    return done != NULL ? space : NULL;
}

bool pt_python_run(const char *source, const char *function, const void *raw, size_t len, unsigned number, char *out,
                   size_t size)
{
    void *space = namespace_of(source);
    void *callable = space != NULL ? py.PyDict_GetItemString(space, function) : NULL; /* borrowed */
    void *bytes = py.PyBytes_FromStringAndSize(raw, (ptrdiff_t)len), *limit = py.PyLong_FromLong((long)number);
    void *result = callable != NULL && bytes != NULL && limit != NULL
                       ? py.PyObject_CallFunctionObjArgs(callable, bytes, limit, NULL)
                       : NULL;
    const char *text = result != NULL ? py.PyUnicode_AsUTF8(result) : NULL;
    if (text != NULL) {
        size_t all = strnlen(text, size - 1);
        memcpy(out, text, all);
        out[all] = '\0';
    }
    void *const ours[] = {result, bytes, limit, space};
    drop(ours, sizeof ours / sizeof ours[0]);
    return text != NULL;
}

#define GONE_WAIT_NS 100000000 /* in abort() from a signal handler this very thread may be the one that holds it */

void pt_python_gone(void)
{
    atomic_store(&gone, true);
    struct pt_patience patience = pt_patience_for(GONE_WAIT_NS);
    while (atomic_load(&holders) != 0 && pt_patience_pause(&patience, 100000)) {
    }
}
