/* CPython for the suites that want one of any version, or one whose calls fail: its C API, in this program itself,
 * which exports it for base/libraries to find. Objects are counted, frames lie in memory as those of the version do.
 * One thread alone, unless a suite sees to it that calls do not meet. */
#ifndef TESTS_FAKE_PYTHON_H
#define TESTS_FAKE_PYTHON_H

#include "base/libraries.h"
#include "suite.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* Exported, and declared before it is defined. */
#define API(result, name, arguments)                                                                                   \
    __attribute__((visibility("default"))) result name arguments;                                                      \
    result name arguments

enum python_kind {
    PYTHON_NONE,
    PYTHON_TEXT,
    PYTHON_BYTES,
    PYTHON_NUMBER,
    PYTHON_DICT,
    PYTHON_MODULE,
    PYTHON_FUNCTION,
    PYTHON_CODE,
    PYTHON_WEAK,
    PYTHON_FRAME
};

/* PyMethodDef */
struct python_method {
    const char *name;
    void *(*function)(void *, void *);
    int flags;
};

struct python_object {
    long references;
    enum python_kind kind;
    uintptr_t word[14]; /* the rest of a frame object, as the version has it */
    const char *text;   /* of a text; of a function its name */
    const char *file;   /* of code */
    void *address;      /* of a number; a frame's code; what a weak reference is to; a function's self */
    void *calls;        /* of a weak reference, when its object ends; of code its weak reference */
    const struct python_method *method;
    int last; /* of a frame: the instruction */
};

#define PYTHON_DEEP 128 /* frames at most */
#define PYTHON_HEAD 208 /* in bytes: code objects begin so */
#define PYTHON_TOP  9   /* words into the thread state */

static struct {
    const char *version;
    int initialized, finalizing, collects;
    void *thread_state, *runs;         /* this thread's, and that of the thread with the GIL */
    bool sub_interpreter, unwatchable; /* no weak references */
    bool error;
    unsigned looks;              /* at the innermost frame of a thread, on the way to all of them */
    unsigned calls, fails_at;    /* of those that may fail: the how manyeth does, from 1 */
    long alive, taken, released; /* objects; the GIL, by those who ask for it */
    void (*gil_is_taken)(void);  /* who asks for it waits in there */
    struct python_object *at_exit;
    void (*after)(void);
    const char *answer; /* what a function of a source says; NULL: something that is no text */
    /* The stack, innermost first. */
    unsigned depth;
    struct python_object frame[PYTHON_DEEP];
    uintptr_t raw[PYTHON_DEEP][16]; /* where the interpreter has its frames, from 3.11 on */
    uintptr_t state[32];
    uintptr_t through[2]; /* in between, in 3.11 and 3.12 */
} python = {.version = "3.12.1 (fake)", .initialized = 1};

static inline int python_minor(void)
{
    return atoi(python.version + 2);
}

static inline bool python_fails(void)
{
    bool fails = ++python.calls == python.fails_at;
    python.error = python.error || fails;
    return fails;
}

static inline struct python_object *python_make(enum python_kind kind)
{
    struct python_object *o = calloc(1, sizeof *o);
    REQUIRE(o != NULL);
    o->references = 1;
    o->kind = kind;
    python.alive++;
    return o;
}

static inline struct python_object *python_make_text(const char *text)
{
    struct python_object *o = python_make(PYTHON_TEXT);
    o->text = text;
    return o;
}

static inline struct python_object *python_make_code(const char *file, const char *function)
{
    struct python_object *o = python_make(PYTHON_CODE);
    o->file = file;
    o->text = function;
    return o;
}

/* ---- the API ---- */

__attribute__((visibility("default"))) struct python_object _Py_NoneStruct = {.references = 1000};

API(int, Py_IsInitialized, (void))
{
    return python.initialized;
}

API(int, Py_IsFinalizing, (void))
{
    return python.finalizing;
}

API(int, _Py_IsFinalizing, (void))
{
    return python.finalizing;
}

API(const char *, Py_GetVersion, (void))
{
    return python.version;
}

API(int, PyGILState_Check, (void))
{
    return python.runs == python.thread_state;
}

API(int, PyGILState_Ensure, (void))
{
    python.taken++;
    if (python.gil_is_taken != NULL) {
        python.gil_is_taken();
    }
    return 7;
}

API(void, PyGILState_Release, (int token))
{
    REQUIRE(token == 7);
    python.released++;
}

API(void *, PyGILState_GetThisThreadState, (void))
{
    return python.thread_state;
}

API(void *, PyThreadState_GetUnchecked, (void))
{
    return python.runs;
}

API(void *, _PyThreadState_UncheckedGet, (void))
{
    return python.runs;
}

API(void *, PyInterpreterState_Get, (void))
{
    return python.sub_interpreter ? (void *)&python.sub_interpreter : &python;
}

API(void *, PyInterpreterState_Main, (void))
{
    return &python;
}

API(void *, PyEval_SaveThread, (void))
{
    void *state = python.runs;
    python.runs = NULL;
    return state;
}

API(void, PyEval_RestoreThread, (void *state))
{
    python.runs = state;
}

API(int, Py_AtExit, (void (*call)(void)))
{
    python.after = call;
    return 0;
}

API(int, PyGC_Disable, (void))
{
    int before = python.collects;
    python.collects = 0;
    return before;
}

API(int, PyGC_Enable, (void))
{
    int before = python.collects;
    python.collects = 1;
    return before;
}

API(void, _Py_DecRefShared, (void *object))
{
    (void)object;
}

API(void, Py_IncRef, (void *object))
{
    ((struct python_object *)object)->references++;
}

API(void, Py_DecRef, (void *object))
{
    struct python_object *o = object;
    REQUIRE(o->references > 0);
    if (--o->references > 0 || o->kind == PYTHON_FRAME) {
        return;
    }
    if (o->kind == PYTHON_CODE && o->calls != NULL) { /* the callable of its weak reference, with that */
        struct python_object *weak = o->calls, *callable = weak->calls;
        Py_DecRef(callable->method->function(callable->address, weak));
    }
    void *const ours[] = {o->kind == PYTHON_WEAK ? o->calls : NULL, o->kind == PYTHON_FUNCTION ? o->address : NULL};
    python.alive--;
    free(o);
    for (unsigned i = 0; i < 2; i++) {
        if (ours[i] != NULL) {
            Py_DecRef(ours[i]);
        }
    }
}

API(void *, PyErr_Occurred, (void))
{
    return python.error ? &python.error : NULL;
}

API(void, PyErr_Clear, (void))
{
    python.error = false;
}

API(const char *, PyUnicode_AsUTF8, (void *object))
{
    struct python_object *o = object;
    bool fails = python_fails() || o->kind != PYTHON_TEXT;
    python.error = python.error || fails;
    return fails ? NULL : o->text;
}

API(void *, PyUnicode_FromString, (const char *text))
{
    return python_fails() ? NULL : python_make_text(text);
}

API(void *, PyBytes_FromStringAndSize, (const char *bytes, ptrdiff_t len))
{
    REQUIRE(len >= 0 && (bytes != NULL || len == 0));
    return python_fails() ? NULL : python_make(PYTHON_BYTES);
}

API(void *, PyLong_FromLong, (long number))
{
    struct python_object *o = python_fails() ? NULL : python_make(PYTHON_NUMBER);
    if (o != NULL) {
        o->address = (void *)number;
    }
    return o;
}

API(void *, PyLong_FromVoidPtr, (void *address))
{
    return PyLong_FromLong((long)address);
}

API(void *, PyLong_AsVoidPtr, (void *number))
{
    return ((struct python_object *)number)->address;
}

API(void *, PyDict_New, (void))
{
    return python_fails() ? NULL : python_make(PYTHON_DICT);
}

API(int, PyDict_SetItemString, (void *dict, const char *key, void *value))
{
    (void)dict;
    (void)key;
    (void)value;
    return python_fails() ? -1 : 0;
}

/* A namespace in which a source has run has each function that is asked for. */
API(void *, PyDict_GetItemString, (void *dict, const char *key))
{
    static struct python_object function = {.references = 1000, .kind = PYTHON_FUNCTION};
    function.text = key;
    return ((struct python_object *)dict)->calls != NULL && !python_fails() ? &function : NULL;
}

API(void *, PyImport_ImportModule, (const char *name))
{
    struct python_object *o = python_fails() ? NULL : python_make(PYTHON_MODULE);
    if (o != NULL) {
        o->text = name;
    }
    return o;
}

API(void *, PyObject_GetAttrString, (void *object, const char *name))
{
    struct python_object *o = object, *value = NULL;
    if (python_fails()) {
        return NULL;
    }
    if (o->kind == PYTHON_CODE) {
        const char *text = strcmp(name, "co_filename") == 0 ? o->file : o->text;
        return text != NULL ? python_make_text(text) : python_make(PYTHON_NUMBER);
    }
    value = python_make(PYTHON_FUNCTION);
    value->text = name;
    return value;
}

API(void *, PyCFunction_NewEx, (void *method, void *self, void *module))
{
    REQUIRE(module == NULL);
    struct python_object *o = python_fails() ? NULL : python_make(PYTHON_FUNCTION);
    if (o != NULL) {
        o->method = method;
        o->text = o->method->name;
        o->address = self;
        if (self != NULL) {
            Py_IncRef(self);
        }
    }
    return o;
}

API(void *, PyWeakref_NewRef, (void *object, void *callable))
{
    struct python_object *o = python_fails() || python.unwatchable ? NULL : python_make(PYTHON_WEAK);
    if (o != NULL) {
        o->address = object;
        o->calls = callable;
        Py_IncRef(callable);
        ((struct python_object *)object)->calls = o;
    }
    return o;
}

API(void *, PyObject_CallFunctionObjArgs, (void *callable, ...))
{
    const char *name = ((struct python_object *)callable)->text;
    va_list list;
    struct python_object *arguments[4] = {0};
    unsigned count = 0;
    va_start(list, callable);
    while (count < 4 && (arguments[count] = va_arg(list, void *)) != NULL) {
        count++;
    }
    va_end(list);
    if (python_fails()) {
        return NULL;
    }
    if (strcmp(name, "compile") == 0) {
        REQUIRE(count == 3);
        return python_make_code("<pintensor>", "<module>");
    }
    if (strcmp(name, "exec") == 0) {
        REQUIRE(count == 2 && arguments[0]->kind == PYTHON_CODE && arguments[1]->kind == PYTHON_DICT);
        arguments[1]->calls = arguments[1];
    } else if (strcmp(name, "register") == 0) {
        REQUIRE(count == 1);
        python.at_exit = arguments[0];
        Py_IncRef(arguments[0]);
    } else {
        REQUIRE(count == 2 && arguments[0]->kind == PYTHON_BYTES && arguments[1]->kind == PYTHON_NUMBER);
        return python.answer != NULL ? python_make_text(python.answer) : python_make(PYTHON_NUMBER);
    }
    return python_make(PYTHON_NUMBER);
}

/* ---- its stack ---- */

static inline struct python_object *python_frame_after(const struct python_object *frame)
{
    unsigned i = frame != NULL ? (unsigned)(frame - python.frame) + 1 : 0;
    if (i >= python.depth) {
        return NULL;
    }
    python.frame[i].references++;
    return &python.frame[i];
}

API(void *, PyEval_GetFrame, (void))
{
    return python.depth > 0 ? &python.frame[0] : NULL;
}

API(void *, PyThreadState_GetFrame, (void *thread_state))
{
    REQUIRE(thread_state == python.state);
    python.looks++;
    return python_frame_after(NULL);
}

API(void *, PyFrame_GetBack, (void *frame))
{
    return python_frame_after(frame);
}

API(void *, PyFrame_GetCode, (void *frame))
{
    void *code = ((struct python_object *)frame)->address;
    Py_IncRef(code);
    return code;
}

API(int, PyFrame_GetLasti, (void *frame))
{
    return ((struct python_object *)frame)->last;
}

API(int, PyCode_Addr2Line, (void *code, int instruction))
{
    (void)code;
    return instruction >= 0 ? 100 + instruction / 2 : -1;
}

API(int, PyFrame_GetLineNumber, (void *frame))
{
    return PyCode_Addr2Line(NULL, ((struct python_object *)frame)->last);
}

/* How versions have their frames, in words from their begin: Include/internal/pycore_frame.h, before 3.11
 * frameobject.h. */
struct python_layout {
    unsigned code, previous, place;
};

static inline struct python_layout python_layout(void)
{
    int minor = python_minor();
    return minor < 10    ? (struct python_layout){4, 3, 13}
           : minor == 10 ? (struct python_layout){4, 3, 12}
           : minor == 11 ? (struct python_layout){4, 6, 7}
                         : (struct python_layout){0, 1, 7};
}

/* Where the interpreter has this frame. */
static inline uintptr_t *python_place(unsigned i)
{
    return python_minor() < 11 ? (uintptr_t *)&python.frame[i] : python.raw[i];
}

/* The innermost frame is `code[0]` at `last[0]`, and so on. */
static inline void python_stack(unsigned depth, struct python_object *const *code, const int *last)
{
    struct python_layout l = python_layout();
    int minor = python_minor();
    REQUIRE(depth <= PYTHON_DEEP);
    python.depth = depth;
    python.thread_state = python.state;
    for (unsigned i = 0; i < depth; i++) {
        uintptr_t *at = python_place(i);
        python.frame[i] =
            (struct python_object){.references = 1, .kind = PYTHON_FRAME, .address = code[i], .last = last[i]};
        if (minor >= 11) {
            ((uintptr_t *)&python.frame[i])[3] = (uintptr_t)at;
        }
        at[l.code] = (uintptr_t)code[i] | (minor >= 14 ? 1 : 0);
        at[l.previous] = i + 1 < depth ? (uintptr_t)python_place(i + 1) : 0;
        at[l.place] = minor >= 11 ? (uintptr_t)code[i] + PYTHON_HEAD + (uintptr_t)last[i]
                                  : (uintptr_t)(uint32_t)(minor == 10 ? last[i] / 2 : last[i]);
    }
    uintptr_t top = depth > 0 ? (uintptr_t)python_place(0) : 0;
    python.through[minor == 11] = top;
    python.state[PYTHON_TOP] = minor == 11 || minor == 12 ? (uintptr_t)python.through : top;
}

/* ---- what it lacks ---- */

/* From here on it has no symbol of that name. */
static inline void python_hide(const char *name)
{
    struct pt_library program;
    REQUIRE(pt_libraries_with("Py_IsInitialized", &program) == 0 || pt_libraries_with(name, &program) == 0);
    Elf64_Sym *symbol = (Elf64_Sym *)pt_elf_find(&program.elf, name);
    ck_assert_msg(symbol != NULL, "no %s here", name);
    uintptr_t from = (uintptr_t)symbol & ~(uintptr_t)4095, to = (uintptr_t)(symbol + 1);
    REQUIRE(mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) == 0);
    symbol->st_shndx = SHN_UNDEF;
}

/* One of an older version: what came later is not there. */
static inline void python_is(const char *version)
{
    static const struct {
        int since, until;
        const char *name;
    } came[] = {{10, 99, "PyGC_Disable"},     {10, 99, "PyGC_Enable"},
                {11, 99, "PyFrame_GetLasti"}, {13, 99, "PyThreadState_GetUnchecked"},
                {13, 99, "Py_IsFinalizing"},  {0, 13, "_PyThreadState_UncheckedGet"},
                {0, 13, "_Py_IsFinalizing"}};
    python.version = version;
    for (unsigned i = 0; i < sizeof came / sizeof came[0]; i++) {
        if (python_minor() < came[i].since || python_minor() >= came[i].until) {
            python_hide(came[i].name);
        }
    }
    python_hide("_Py_DecRefShared");
}

#endif
