/* Objects and symbols as base/libraries reads them: the same as the dynamic linker says, and without waiting for it. */
#include "base/libraries.h"
#include "base/linker.h"
#include "suite.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/auxv.h>

/* Plain functions, one chosen when it is first called, some with several versions, data. */
static const char *const names[] = {"exit",        "strlen",  "memcpy",   "pthread_cond_wait",
                                    "posix_spawn", "regexec", "realpath", "quick_exit",
                                    "environ",     "stdout",  "qsort",    "sched_getaffinity"};

static struct pt_library libc(void)
{
    struct pt_library found;
    ck_assert_int_eq(pt_libraries_named("libc.so", "exit", &found), 0);
    return found;
}

START_TEST(symbols_are_the_linkers)
{
    struct pt_library object = libc();
    void *handle = dlopen(object.path, RTLD_NOLOAD | RTLD_LAZY);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *wanted = dlsym(handle, names[i]), *found = pt_elf_symbol(&object.elf, names[i]);
        ck_assert_msg(found == wanted && found != NULL, "%s: %p for %p", names[i], found, wanted);
    }
    ck_assert_ptr_null(pt_elf_symbol(&object.elf, "no_such_function"));
    ck_assert_ptr_null(pt_elf_symbol(&object.elf, ""));
    ck_assert_ptr_null(pt_elf_symbol(&object.elf, "errno")); /* each thread has its own */
}
END_TEST

START_TEST(names_are_the_linkers)
{
    struct pt_library object = libc();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        Dl_info wanted;
        uintptr_t begins;
        char *address = pt_elf_symbol(&object.elf, names[i]);
        ck_assert_int_ne(dladdr(address + 1, &wanted), 0);
        const char *found = pt_elf_name_of(&object.elf, (uintptr_t)address + 1, &begins);
        ck_assert(wanted.dli_sname != NULL ? found != NULL && (char *)begins == wanted.dli_saddr : found == NULL);
    }
}
END_TEST

/* The kernel's own, which no linker has put addresses into. */
START_TEST(an_object_that_was_not_relocated)
{
    struct pt_library object;
    uintptr_t from = getauxval(AT_SYSINFO_EHDR);
    if (from != 0 && pt_libraries_named("linux-vdso", NULL, &object) == 0) {
        ck_assert_uint_eq(object.elf.from, from);
        uintptr_t function = (uintptr_t)pt_elf_symbol(&object.elf, "__vdso_clock_gettime");
        ck_assert_uint_lt(function - from, object.elf.len);
    }
}
END_TEST

/* An older way to look names up by than the one that linkers make by default. */
START_TEST(either_table_of_names)
{
    struct pt_library object = libc();
    const Elf64_Sym *wanted = pt_elf_find(&object.elf, "exit");
    if (object.elf.hash != NULL && object.elf.gnu_hash != NULL) {
        object.elf.gnu_hash = NULL;
        ck_assert_ptr_eq(pt_elf_find(&object.elf, "exit"), wanted);
        ck_assert_ptr_null(pt_elf_find(&object.elf, "no_such_function"));
    }
}
END_TEST

START_TEST(around_an_address)
{
    struct pt_library object, other;
    static int here;
    object = libc();
    ck_assert_int_eq(pt_libraries_around(pt_elf_symbol(&object.elf, "exit"), &other), 0);
    ck_assert_str_eq(other.path, object.path);
    ck_assert_uint_eq(other.elf.from, object.elf.from);
    ck_assert_ptr_eq(other.elf.symbols, object.elf.symbols);
    ck_assert_int_eq(pt_libraries_around(&here, &other), 0);
    ck_assert(pt_libraries_is_ours(&other));
    ck_assert_int_eq(pt_libraries_around(NULL, &other), -ENOENT);
    ck_assert_int_eq(pt_libraries_around(malloc(1), &other), -ENOENT);
}
END_TEST

START_TEST(a_call_reaches_another_object)
{
    struct pt_library object = libc(), user;
    void *found;
    ck_assert_int_eq(pt_libraries_reached("exit", true, NULL, &found), 0);
    ck_assert_ptr_eq(found, pt_elf_symbol(&object.elf, "exit"));
    ck_assert_int_eq(pt_libraries_reached("no_such_function", true, &object, &found), -ENOENT);
    ck_assert_int_eq(pt_libraries_named("libcheck", NULL, &user) == 0 ? 0 : pt_libraries_named("libc.so", NULL, &user),
                     0);
    ck_assert_int_eq(pt_libraries_reached("lfind", false, &user, &found), 0);
    ck_assert_ptr_eq(found, dlsym(RTLD_DEFAULT, "lfind")); /* which no sanitizer stands before */
}
END_TEST

/* ---- while somebody else is in there ---- */

static pthread_barrier_t barrier;

static int stay(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)info;
    (void)size;
    (void)unused;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return 1;
}

static void *walk(void *unused)
{
    dl_iterate_phdr(stay, NULL);
    return unused;
}

START_TEST(the_list_is_not_waited_for)
{
    pthread_t thread;
    struct pt_library object;
    unsigned long long loaded;
    void *found;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, walk, NULL);
    pthread_barrier_wait(&barrier);
    ck_assert_int_eq(pt_libraries_named("libc.so", NULL, &object), -EBUSY);
    ck_assert_int_eq(pt_libraries_with("exit", &object), -EBUSY);
    ck_assert_int_eq(pt_libraries_loaded(&loaded), -EBUSY);
    ck_assert_int_eq(pt_libraries_reached("exit", true, NULL, &found), -EBUSY);
    ck_assert(!pt_linker_list_begin());
    if (dlsym(RTLD_DEFAULT, "_dl_find_object") != NULL) {
        ck_assert_int_eq(pt_libraries_around(stdout, &object), 0);
    }
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    ck_assert_int_eq(pt_libraries_named("libc.so", NULL, &object), 0);
    ck_assert_int_eq(pt_libraries_loaded(&loaded), 0);
}
END_TEST

static int ask_inside(struct dl_phdr_info *info, size_t size, void *unused)
{
    struct pt_library object;
    (void)info;
    (void)size;
    (void)unused;
    return pt_libraries_named("libc.so", NULL, &object) == -EBUSY;
}

/* As a signal handler would find it, in the middle of a change. */
START_TEST(nor_is_it_read_by_the_thread_that_holds_it)
{
    ck_assert_int_eq(dl_iterate_phdr(ask_inside, NULL), 1);
}
END_TEST

START_TEST(what_is_kept_stays)
{
    struct pt_library object;
    void *handle = dlopen("libutil.so.1", RTLD_NOW);
    if (handle == NULL || pt_libraries_named("libutil.so.1", NULL, &object) != 0) {
        return; /* this libc has none of its own */
    }
    ck_assert(pt_linker_begin());
    ck_assert(pt_linker_begin()); /* a constructor's thread has it already */
    ck_assert(pt_libraries_keep(&object));
    pt_linker_end();
    pt_linker_end();
    dlclose(handle);
    ck_assert_int_eq(pt_libraries_named("libutil.so.1", NULL, &object), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("libraries");
    tcase_add_test(tests, symbols_are_the_linkers);
    tcase_add_test(tests, names_are_the_linkers);
    tcase_add_test(tests, an_object_that_was_not_relocated);
    tcase_add_test(tests, either_table_of_names);
    tcase_add_test(tests, around_an_address);
    tcase_add_test(tests, a_call_reaches_another_object);
    tcase_add_test(tests, the_list_is_not_waited_for);
    tcase_add_test(tests, nor_is_it_read_by_the_thread_that_holds_it);
    tcase_add_test(tests, what_is_kept_stays);
    return suite_run("libraries", tests);
}
