/* CPython's C API as trace/python uses it: of each version, and where calls of it fail. */
#include "fake_python.h"
#include "trace/code.h"
#include "trace/python.h"
#include "trace/referrers.h"

#include <pthread.h>

/* ---- what there is ---- */

static void begin(const char *version)
{
    python_is(version);
    python.thread_state = python.runs = python.state;
    pt_python_init();
}

static const char *const needed[] = {"Py_IsInitialized",
                                     "PyGILState_Check",
                                     "PyGILState_Ensure",
                                     "PyGILState_Release",
                                     "PyEval_GetFrame",
                                     "PyThreadState_GetFrame",
                                     "PyFrame_GetBack",
                                     "PyFrame_GetCode",
                                     "PyCode_Addr2Line",
                                     "PyFrame_GetLineNumber",
                                     "Py_IncRef",
                                     "Py_DecRef",
                                     "PyUnicode_AsUTF8",
                                     "PyObject_GetAttrString",
                                     "PyUnicode_FromString",
                                     "PyBytes_FromStringAndSize",
                                     "PyLong_FromLong",
                                     "PyDict_New",
                                     "PyDict_SetItemString",
                                     "PyDict_GetItemString",
                                     "PyErr_Occurred",
                                     "PyErr_Clear",
                                     "PyImport_ImportModule",
                                     "PyCFunction_NewEx",
                                     "PyWeakref_NewRef",
                                     "PyLong_FromVoidPtr",
                                     "PyLong_AsVoidPtr",
                                     "PyInterpreterState_Get",
                                     "PyEval_SaveThread",
                                     "PyInterpreterState_Main",
                                     "PyEval_RestoreThread",
                                     "Py_AtExit",
                                     "_Py_NoneStruct",
                                     "PyObject_CallFunctionObjArgs",
                                     "PyGILState_GetThisThreadState"};

START_TEST(without_one_of_its_functions_it_is_none)
{
    python_is("3.12.1");
    python.thread_state = python.runs = python.state;
    pt_python_init();
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_HELD);
    ck_assert(pt_python_may_walk());
    python_hide(needed[_i]);
    pt_python_init();
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_NONE);
    ck_assert_ptr_null(pt_python_thread_state());
    ck_assert(!pt_python_may_walk());
    ck_assert(!pt_python_may_ask());
}
END_TEST

START_TEST(which_version)
{
    static const struct {
        const char *version;
        int minor;
    } all[] = {{"3.9.2 (main)", 9}, {"3.14.0a1", 14}, {"2.7.18", 0}, {"", 0}};
    python_hide("_Py_DecRefShared");
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        python.version = all[i].version;
        pt_python_init();
        ck_assert_int_eq(pt_python_minor(), all[i].minor);
    }
    python_hide("Py_GetVersion");
    pt_python_init();
    ck_assert_int_eq(pt_python_minor(), 0);
    ck_assert(!pt_python_may_walk());
}
END_TEST

START_TEST(threads_without_the_gil_have_frames_of_their_own)
{
    python.version = "3.13.1 experimental free-threading build";
    pt_python_init();
    ck_assert_int_eq(pt_python_minor(), 0);
    ck_assert(!pt_python_may_walk());
}
END_TEST

static const char *const versions[] = {"3.9.2", "3.10.4", "3.11.2", "3.12.1", "3.13.0", "3.14.0"};

START_TEST(who_has_the_gil)
{
    static int other;
    begin(versions[_i]);
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_HELD);
    python.runs = &other;
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_RELEASED);
    python.thread_state = NULL;
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_NONE);
    python.thread_state = python.state;
    python.initialized = 0;
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_NONE);
    python.initialized = python.finalizing = 1;
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_NONE);
    python.finalizing = 0;
    python.error = true;
    ck_assert(!pt_python_quiet());
    python.error = false;
    ck_assert(pt_python_quiet());
}
END_TEST

/* Neither of the two ways to ask for the running thread's state: then by the one that sub-interpreters break. */
START_TEST(who_has_the_gil_by_the_oldest_call)
{
    begin("3.12.1");
    python_hide("_PyThreadState_UncheckedGet");
    python_hide("_Py_IsFinalizing");
    pt_python_init();
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_HELD);
    python.runs = NULL;
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_RELEASED);
    python.finalizing = 1; /* which nobody tells */
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_RELEASED);
}
END_TEST

START_TEST(the_collector_rests_meanwhile)
{
    int token = 0, collecting = -1;
    begin(versions[_i]);
    python.collects = 1;
    bool can = python_minor() >= 10;
    ck_assert_int_eq(pt_python_may_ask(), can);
    ck_assert_int_eq(pt_python_enter_alone(&token, &collecting), can);
    if (can) {
        ck_assert_int_eq(python.collects, 0);
        pt_python_leave_alone(token, collecting);
        ck_assert_int_eq(python.collects, 1);
        python.collects = 0; /* as the program wants it */
        ck_assert(pt_python_enter_alone(&token, &collecting));
        pt_python_leave_alone(token, collecting);
        ck_assert_int_eq(python.collects, 0);
        python_hide("PyGC_Enable");
        pt_python_init();
        ck_assert(!pt_python_may_ask());
    }
    ck_assert_int_eq(python.released, can ? 2 : 0);
}
END_TEST

/* ---- frames ---- */

START_TEST(frames_of_a_thread)
{
    struct python_object *code[3];
    const int last[] = {12, 4, 20};
    struct pt_python_frame out[4], one;
    uintptr_t at[4];
    begin(versions[_i]);
    ck_assert(!pt_python_frame(&one));
    ck_assert_uint_eq(pt_python_frames(python.state, out, at, 4), 0);
    for (unsigned i = 0; i < 3; i++) {
        code[i] = python_make_code("train.py", "step");
    }
    python_stack(3, code, last);
    ck_assert(pt_python_frame(&one));
    ck_assert_uint_eq(pt_python_frames(python.state, out, at, 4), 3);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_ptr_eq(out[i].code, code[i]);
        ck_assert_uint_eq(at[i], (uintptr_t)python_place(i));
        ck_assert_int_eq(pt_python_frame_line(&out[i]), 100 + last[i] / 2);
        ck_assert_int_eq(out[i].last, python_minor() >= 11 ? last[i] : 100 + last[i] / 2);
        ck_assert_int_eq(code[i]->references, 1);
        ck_assert_int_eq(python.frame[i].references, 1);
    }
    ck_assert_ptr_eq(one.code, code[0]);
    ck_assert_uint_eq(pt_python_frames(python.state, out, at, 2), 2);
    ck_assert_int_eq(python.frame[2].references, 1);
}
END_TEST

START_TEST(where_frames_are_is_not_known_of_every_version)
{
    struct python_object *code = python_make_code("train.py", "step");
    struct pt_python_frame out;
    uintptr_t at = 1;
    const int last = 2;
    python.version = "4.0";
    pt_python_init();
    python_stack(1, &code, &last);
    ck_assert_uint_eq(pt_python_frames(python.state, &out, &at, 1), 1);
    ck_assert_uint_eq(at, 0);
}
END_TEST

START_TEST(a_frame_in_words)
{
    char file[12], function[12];
    uint32_t line;
    begin("3.12.1");
    struct python_object *code = python_make_code("a/long/path/train.py", "step");
    long alive = python.alive;
    struct pt_python_frame f = {code, 20};
    pt_python_describe(&f, file, function, sizeof file, &line);
    ck_assert_str_eq(file, "th/train.py"); /* its end */
    ck_assert_str_eq(function, "step");
    ck_assert_uint_eq(line, 110);
    f.last = -1; /* no instruction of it has run */
    code->file = "12345678901";
    code->text = NULL; /* no text */
    pt_python_describe(&f, file, function, sizeof file, &line);
    ck_assert_str_eq(file, "12345678901");
    ck_assert_str_eq(function, "");
    ck_assert_uint_eq(line, 0);
    for (unsigned i = 1; i <= 3; i++) {
        code->text = "step";
        python.calls = 0;
        python.fails_at = i;
        pt_python_describe(&f, file, function, sizeof file, &line);
        ck_assert_str_eq(file, i <= 2 ? "" : "12345678901");
        ck_assert_str_eq(function, i <= 2 ? "step" : "");
    }
    ck_assert(!python.error);
    ck_assert_int_eq(python.alive, alive);
}
END_TEST

/* ---- the end of code, of Python, and of nobody's interest ---- */

static void *ended_last;
static unsigned ended_times;

static void ended(void *code)
{
    ended_last = code;
    ended_times++;
}

START_TEST(code_tells_of_its_end)
{
    begin("3.12.1");
    struct python_object *code = python_make_code("train.py", "step");
    for (python.fails_at = 1; python.calls = 0, !pt_python_watch(code, ended); python.fails_at++) {
        ck_assert_int_eq(python.alive, 1); /* the code alone */
        ck_assert(!python.error);
    }
    ck_assert_uint_eq(python.fails_at, 4); /* each of three calls has failed once */
    python.fails_at = 0;
    ck_assert_uint_eq(ended_times, 0);
    Py_DecRef(code);
    ck_assert_uint_eq(ended_times, 1);
    ck_assert_ptr_eq(ended_last, code);
    ck_assert_int_eq(python.alive, 0);
}
END_TEST

static char steps[8];

static void exit_begins(void)
{
    strcat(steps, python.runs == NULL ? "b" : "B");
}

static void exit_begun(void)
{
    strcat(steps, python.runs == python.state ? "u" : "U");
}

static void exit_over(void)
{
    strcat(steps, "o");
}

START_TEST(python_tells_of_its_end)
{
    begin("3.12.1");
    python.sub_interpreter = true;
    ck_assert(!pt_python_at_exit(exit_begins, exit_begun, exit_over));
    ck_assert(!pt_python_may_walk());
    python.sub_interpreter = false;
    for (python.fails_at = 1; python.calls = 0, !pt_python_at_exit(exit_begins, exit_begun, exit_over);
         python.fails_at++) {
        ck_assert_int_eq(python.alive, 0);
        ck_assert(!python.error);
        ck_assert_ptr_null(python.after);
        ck_assert_ptr_null(python.at_exit);
    }
    ck_assert_uint_eq(python.fails_at, 5);
    long none = _Py_NoneStruct.references;
    ck_assert_ptr_eq(python.at_exit->method->function(NULL, NULL), &_Py_NoneStruct);
    ck_assert_int_eq(_Py_NoneStruct.references, none + 1);
    python.after();
    ck_assert_str_eq(steps, "buo");    /* the first without the GIL */
    ck_assert_int_eq(python.alive, 1); /* the callable, which is Python's now */
}
END_TEST

static void *hold_for_long(void *unused)
{
    usleep(20000);
    pt_python_let_go();
    return unused;
}

START_TEST(it_is_left_alone)
{
    pthread_t thread;
    begin("3.12.1");
    ck_assert(pt_python_hold());
    pthread_create(&thread, NULL, hold_for_long, NULL);
    pt_python_gone(); /* waits for that */
    pthread_join(thread, NULL);
    ck_assert(!pt_python_hold());
    ck_assert_int_eq(pt_python_gil(), PT_PYTHON_NONE);
    pt_python_init(); /* as in a forked child */
    ck_assert(pt_python_hold());
    pt_python_gone(); /* does not wait for ever: it may be this thread that holds it */
    ck_assert(!pt_python_hold());
}
END_TEST

/* ---- a source of ours ---- */

START_TEST(a_source_is_run)
{
    char out[8];
    begin("3.12.1");
    python.answer = "answer";
    for (python.fails_at = 1; python.calls = 0, !pt_python_run("source", "find", "raw", 3, 5, out, sizeof out);
         python.fails_at++) {
        ck_assert_int_eq(python.alive, 0);
        ck_assert(!python.error);
    }
    ck_assert_uint_eq(python.fails_at, 16); /* each of fifteen calls has failed once */
    python.fails_at = 0;
    ck_assert_str_eq(out, "answer");
    python.answer = "a longer answer";
    ck_assert(pt_python_run("source", "find", NULL, 0, 5, out, sizeof out));
    ck_assert_str_eq(out, "a longe");
    python.answer = NULL; /* no text */
    ck_assert(!pt_python_run("source", "find", NULL, 0, 5, out, sizeof out));
    ck_assert_int_eq(python.alive, 0);
    ck_assert(!python.error);
}
END_TEST

static uint32_t found(const char *answer, struct pt_held_by *out, uint32_t most)
{
    static const struct pt_referrers_block block;
    python.answer = answer;
    return pt_referrers_find(&block, 1, 5, out, most);
}

START_TEST(who_holds_blocks)
{
    struct pt_held_by h[4];
    begin("3.12.1");
    ck_assert_uint_eq(found("3\t2\t4096\tlist 'kept' of train.py\n7\t1\t64\tx\n", h, 4), 2);
    ck_assert(h[0].row == 3 && h[0].blocks == 2 && h[0].bytes == 4096);
    ck_assert_str_eq(h[0].words, "list 'kept' of train.py");
    ck_assert(h[1].row == 7 && h[1].bytes == 64);
    ck_assert_uint_eq(found("1\t1\t1\ta\n1\t1\t1\tb\n1\t1\t1\tc\n1\t1\t1\td\n2\t1\t1\te\n", h, 4), 4);
    ck_assert_uint_eq(h[3].row, 2); /* three of one site, and no more */
    ck_assert_uint_eq(found("1\t1\t1\ta\n2\t1\t1\tb\n", h, 1), 1);
    ck_assert_uint_eq(found("", h, 4), 0);
    ck_assert_uint_eq(found("no line\n1 2 3\n4\t1\t1\tone\n", h, 4), 1);
    ck_assert_uint_eq(h[0].row, 4);
    char line[1024] = "1\t1\t1\t";
    while (strlen(line) < 900) {
        strcat(line, "\xe2\x82\xac");
    }
    ck_assert_uint_eq(found(line, h, 4), 1);
    ck_assert_uint_eq(strlen(h[0].words) % 3, 0); /* no half of a character */
    ck_assert_uint_gt(strlen(h[0].words), sizeof h[0].words - 4);
    ck_assert_uint_eq(found(NULL, h, 4), 0);
    python.sub_interpreter = true;
    ck_assert_uint_eq(found("1\t1\t1\ta\n", h, 4), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("python");
    int count = (int)(sizeof versions / sizeof versions[0]);
    tcase_add_loop_test(tests, without_one_of_its_functions_it_is_none, 0, (int)(sizeof needed / sizeof needed[0]));
    tcase_add_test(tests, which_version);
    tcase_add_test(tests, threads_without_the_gil_have_frames_of_their_own);
    tcase_add_loop_test(tests, who_has_the_gil, 0, count);
    tcase_add_test(tests, who_has_the_gil_by_the_oldest_call);
    tcase_add_loop_test(tests, the_collector_rests_meanwhile, 0, count);
    tcase_add_loop_test(tests, frames_of_a_thread, 0, count);
    tcase_add_test(tests, where_frames_are_is_not_known_of_every_version);
    tcase_add_test(tests, a_frame_in_words);
    tcase_add_test(tests, code_tells_of_its_end);
    tcase_add_test(tests, python_tells_of_its_end);
    tcase_add_test(tests, it_is_left_alone);
    tcase_add_test(tests, a_source_is_run);
    tcase_add_test(tests, who_holds_blocks);
    return suite_run("python", tests);
}
