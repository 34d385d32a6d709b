/* Where a report goes, and whose turn it is to write there. */
#include "base/options.h"
#include "base/thread.h"
#include "ledger/table_load.h"
#include "report/destination.h"
#include "report/turn.h"
#include "folder.h"
#include "table_of.h"

#include <linux/magic.h>
#include <sys/vfs.h>

static void report_to(const char *pattern)
{
    static char entry[1024];
    snprintf(entry, sizeof entry, "PINTENSOR_REPORT=%s", pattern);
    pt_options_load((char *[]){entry, NULL});
    pt_destination_keep();
}

static void begin(void)
{
    folder_begin();
    table_begin(4711, 3);
    ck_assert_int_eq(pt_table_load_bytes(&whole, sizeof whole), 0);
    catch_stderr();
}

/* ---- where ---- */

START_TEST(to_stderr)
{
    begin();
    report_to("");
    ck_assert(!pt_destination_is_file());
    int fd = pt_destination_open();
    ck_assert_int_eq(fd, pt_log_fd());
    pt_destination_close(fd);
    ck_assert_int_eq(pt_destination_open_instead(EIO), -1);
    ck_assert_str_eq(suite_stderr(), "");
    folder_end();
}
END_TEST

START_TEST(to_a_file)
{
    struct stat is;
    begin();
    report_to(in("a/b/%p-%r.txt")); /* whose folders are made */
    ck_assert(pt_destination_is_file());
    ck_assert_int_eq(access(in("a/b/4711-3.txt"), W_OK), 0);
    int fd = pt_destination_open();
    REQUIRE(write(fd, "one", 3) == 3);
    pt_destination_close(fd);
    ck_assert_int_eq(pt_destination_open(), fd); /* it is the same, and stays open */
    REQUIRE(unlink(in("a/b/4711-3.txt")) == 0 && rmdir(in("a/b")) == 0 && rmdir(in("a")) == 0);
    int again = pt_destination_open(); /* is made anew */
    ck_assert_int_ge(again, 0);
    ck_assert_int_ne(again, fd);
    REQUIRE(write(again, "two", 3) == 3 && stat(in("a/b/4711-3.txt"), &is) == 0);
    ck_assert_int_eq(is.st_size, 3);
    pt_destination_close(again);
    ck_assert_int_eq(fcntl(again, F_GETFD), -1);
    ck_assert_str_eq(suite_stderr(), "");
    folder_end();
}
END_TEST

START_TEST(to_a_pipe)
{
    begin();
    REQUIRE(mkfifo(in("pipe"), 0600) == 0);
    report_to(in("pipe"));
    ck_assert_int_eq(pt_destination_open(), pt_log_fd());
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "/pipe, nobody reads the pipe (errno 6): here it is instead\n"));
    int reader = openat(AT_FDCWD, in("pipe"), O_RDONLY | O_NONBLOCK);
    char byte;
    report_to(in("pipe"));
    ck_assert_int_eq(read(reader, &byte, 1), 0); /* nobody has it open: its reader waits for the end */
    int fd = pt_destination_open();
    ck_assert_int_gt(fd, STDERR_FILENO);
    ck_assert_int_eq(read(reader, &byte, 1), -1);
    pt_destination_close(fd);
    ck_assert_int_eq(read(reader, &byte, 1), 0);
    folder_end();
}
END_TEST

START_TEST(to_what_cannot_be_opened)
{
    static char longer[400];
    static const struct {
        const char *path, *words;
    } all[] = {{"folder", "/folder, it is a directory (errno 21)"},
               {"file/x", "/file/x, a part of the path is no directory (errno 20)"},
               {longer, ", the name is too long (errno 36)"}};
    memset(longer, 'x', sizeof longer - 1);
    begin();
    REQUIRE(mkdir(in("folder"), 0700) == 0 && close(openat(AT_FDCWD, in("file"), O_WRONLY | O_CREAT, 0600)) == 0);
    report_to(in(all[_i].path));
    ck_assert_int_eq(pt_destination_open(), pt_log_fd());
    ck_assert_msg(strstr(suite_stderr(), all[_i].words) != NULL, "no '%s' in %s", all[_i].words, suite_stderr());
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "pintensor: cannot write the report to "));
    folder_end();
}
END_TEST

START_TEST(what_is_said_of_errors)
{
    static const struct {
        int error;
        const char *words;
    } all[] = {{ENOENT, "there is no such directory"},
               {ENOTDIR, "a part of the path is no directory"},
               {EISDIR, "it is a directory"},
               {EACCES, "this process may not"},
               {EPERM, "this process may not"},
               {EROFS, "it is mounted read-only"},
               {ENOSPC, "the disk is full"},
               {EDQUOT, "the disk is full"},
               {EFBIG, "files may not become that large"},
               {ENAMETOOLONG, "the name is too long"},
               {ENXIO, "nobody reads the pipe"},
               {EIO, "it fails"}};
    char wanted[512];
    begin();
    report_to(in("x"));
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(wanted, sizeof wanted, "cannot write the report to %s, %s (errno %d): here it is instead\n", in("x"),
                 all[i].words, all[i].error);
        ck_assert_int_eq(pt_destination_open_instead(all[i].error), pt_log_fd());
        ck_assert_msg(strstr(suite_stderr(), wanted) != NULL, "no '%s' in %s", wanted, suite_stderr());
    }
    folder_end();
}
END_TEST

/* ---- whose turn ---- */

static long kind; /* of file system; 0: nobody knows */

int fstatfs(int fd, struct statfs *out)
{
    (void)fd;
    *out = (struct statfs){.f_type = kind};
    errno = ENOSYS;
    return kind != 0 ? 0 : -1;
}

static int64_t soon(int64_t ns)
{
    return pt_thread_now() + ns;
}

START_TEST(on_which_files)
{
    static const struct {
        long kind;
        enum pt_turn turn;
    } all[] = {{TMPFS_MAGIC, PT_TURN_MINE},
               {EXT4_SUPER_MAGIC, PT_TURN_MINE},
               {0x58465342, PT_TURN_MINE},
               {BTRFS_SUPER_MAGIC, PT_TURN_MINE},
               {OVERLAYFS_SUPER_MAGIC, PT_TURN_MINE},
               {NFS_SUPER_MAGIC, PT_TURN_NONE},
               {0, PT_TURN_NONE}};
    int fd = memfd_create("file", MFD_CLOEXEC), ends[2];
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        kind = all[i].kind;
        errno = 77;
        ck_assert_int_eq(pt_turn_take(fd, soon(0)), all[i].turn);
        if (all[i].turn == PT_TURN_MINE) {
            pt_turn_give(fd);
        }
        ck_assert_int_eq(errno, 77);
    }
    REQUIRE(pipe(ends) == 0);
    ck_assert_int_eq(pt_turn_take(ends[1], soon(0)), PT_TURN_MINE);
    ck_assert_int_eq(pt_turn_take(-1, soon(0)), PT_TURN_NONE);
    close(fd);
    ck_assert_int_eq(pt_turn_take(fd, soon(0)), PT_TURN_NONE);      /* that is no file any more */
    ck_assert_int_eq(pt_turn_take(ends[0], soon(0)), PT_TURN_NONE); /* nobody writes there */
}
END_TEST

START_TEST(somebody_else_is_at_it)
{
    int fd = memfd_create("file", MFD_CLOEXEC), told[2], go[2];
    char byte = 0;
    kind = TMPFS_MAGIC;
    REQUIRE(pipe(told) == 0 && pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        bool mine = pt_turn_take(fd, soon(0)) == PT_TURN_MINE;
        REQUIRE(write(told[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
        usleep(20000);
        exit(mine ? 0 : 1); /* a turn ends with its process */
    }
    REQUIRE(read(told[0], &byte, 1) == 1);
    errno = 77;
    ck_assert_int_eq(pt_turn_take(fd, soon(0)), PT_TURN_LATE);
    ck_assert_int_eq(pt_turn_take(fd, soon(20000000)), PT_TURN_LATE);
    ck_assert_int_eq(errno, 77);
    REQUIRE(write(go[1], &byte, 1) == 1);
    ck_assert_int_eq(pt_turn_take(fd, soon(60000000000)), PT_TURN_MINE);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(no_locks_here)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    kind = TMPFS_MAGIC;
    errno = 77;
    refuse_where(SYS_fcntl, 1, F_SETLK, ENOLCK);
    ck_assert_int_eq(pt_turn_take(fd, soon(0)), PT_TURN_NONE);
    pt_turn_give(fd);
    ck_assert_int_eq(errno, 77);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("destination");
    tcase_add_test(tests, to_stderr);
    tcase_add_test(tests, to_a_file);
    tcase_add_test(tests, to_a_pipe);
    tcase_add_loop_test(tests, to_what_cannot_be_opened, 0, 3);
    tcase_add_test(tests, what_is_said_of_errors);
    tcase_add_test(tests, on_which_files);
    tcase_add_test(tests, somebody_else_is_at_it);
    tcase_add_test(tests, no_locks_here);
    return suite_run("destination", tests);
}
