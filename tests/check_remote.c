/* What launchers of ranks on other machines are told: which programs are one, and by which means. */
#include "base/job_record.h"
#include "cli/remote.h"
#include "elsewhere.h"
#include "folder.h"

#include <limits.h>
#include <pwd.h>

#define PRELOAD "/opt/lib/libpintensor_preload.so"

static bool passwd_known = true;

struct passwd *getpwuid(uid_t user)
{
    static struct passwd p = {.pw_dir = folder};
    (void)user;
    return passwd_known ? &p : NULL;
}

static void file(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "w");
    REQUIRE(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    REQUIRE(chmod(in(name), 0755) == 0);
}

static const char *text_of(const char *path)
{
    static char text[65536];
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL) {
        fclose(f);
    }
    return text;
}

/* In a directory of its own, with nothing in the environment but what a test puts there. */
static void begin(void)
{
    folder_begin();
    REQUIRE(chdir(folder) == 0 && mkdir("bin", 0755) == 0 && mkdir("home", 0755) == 0);
    clearenv();
    setenv("HOME", in("home"), 1);
    setenv("PATH", in("bin"), 1);
    setenv("PINTENSOR_STACK", "full", 1);
}

static void over(void)
{
    unsetenv("LD_PRELOAD");
    folder_end();
}

/* Whether DeepSpeed's launcher is told, if that is what this starts. */
static bool tells(char **argv)
{
    unsetenv("DS_ENV_FILE");
    unlink(in("deepspeed_env"));
    ck_assert_ptr_eq(pt_remote_carry(argv, PRELOAD, folder), argv);
    const char *named = getenv("DS_ENV_FILE");
    ck_assert(named == NULL || strcmp(named, in("deepspeed_env")) == 0);
    ck_assert_int_eq(named != NULL, access(in("deepspeed_env"), F_OK) == 0);
    return named != NULL;
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})

START_TEST(which_is_deepspeed)
{
    begin();
    ck_assert(tells(WORDS("deepspeed", "train.py")));
    ck_assert(tells(WORDS("/usr/bin/deepspeed.pt")));
    ck_assert(tells(WORDS("ds")));
    ck_assert(tells(WORDS("python3", "-u", "/usr/bin/deepspeed", "train.py")));
    ck_assert(tells(WORDS("/usr/bin/python3.11", "-u", "-m", "deepspeed.launcher.runner", "train.py")));
    ck_assert(tells(WORDS("python", "-m", "deepspeed")));
    ck_assert(!tells(WORDS("python", "-m", "train", "deepspeed")));
    ck_assert(!tells(WORDS("python", "-m")));
    ck_assert(!tells(WORDS("python", "-u", "-B")));
    ck_assert(!tells(WORDS("python", "train.py", "deepspeed")));
    ck_assert(!tells(WORDS("bash", "deepspeed")));
    ck_assert_ptr_null(getenv("DS_ENV_FILE"));
    ck_assert_ptr_null(pt_remote_carry((char *[]){"deepspeed", NULL}, PRELOAD, NULL)[1]); /* nowhere to write to */
    ck_assert_ptr_null(getenv("DS_ENV_FILE"));
    over();
}
END_TEST

START_TEST(slurm_hands_all_on)
{
    begin();
    ck_assert(!tells(WORDS("deepspeed", "--launcher=SLURM", "train.py")));
    ck_assert(!tells(WORDS("deepspeed", "--launcher", "slurm", "train.py")));
    ck_assert(tells(WORDS("deepspeed", "--launcher", "pdsh", "train.py")));
    ck_assert(tells(WORDS("deepspeed", "--launcher=pdsh", "train.py")));
    ck_assert(tells(WORDS("deepspeed", "train.py", "--launcher")));
    over();
}
END_TEST

static const char *file_after(char *name)
{
    if (name != NULL) {
        setenv("DS_ENV_FILE", name, 1);
    } else {
        unsetenv("DS_ENV_FILE");
    }
    unlink(in("deepspeed_env"));
    (void)pt_remote_carry(WORDS("deepspeed"), PRELOAD, folder);
    return text_of(in("deepspeed_env"));
}

START_TEST(what_the_file_says)
{
    begin();
    ck_assert_str_eq(file_after(NULL), "LD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    file("home/.deepspeed_env", "HOMELY=1\nLD_PRELOAD=a.so");
    ck_assert_str_eq(file_after(NULL), "HOMELY=1\nLD_PRELOAD=" PRELOAD ":a.so\nPINTENSOR_STACK=full\n");
    file(".deepspeed_env", "\nHERE=1\nLD_PRELOAD=b.so:" PRELOAD "\n"); /* the last one counts, and has us already */
    ck_assert_str_eq(file_after(NULL), "HOMELY=1\n\nHERE=1\nLD_PRELOAD=b.so:" PRELOAD "\nPINTENSOR_STACK=full\n");
    file("other", "OTHER=1\n");
    ck_assert_str_eq(file_after("other"), "OTHER=1\nLD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    ck_assert_str_eq(file_after((char *)in("other")), "OTHER=1\nLD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    setenv(PT_JOB_VARIABLE, "/job", 1);
    setenv("NO_PINTENSOR_VARIABLE", "1", 1);
    ck_assert_str_eq(file_after("none"), "LD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n" PT_JOB_VARIABLE "=/job\n");
    over();
}
END_TEST

START_TEST(whose_home_it_is)
{
    static char deep[PATH_MAX + 32];
    begin();
    file(".deepspeed_env", "HERE=1\n");
    unsetenv("HOME");
    REQUIRE(chdir("home") == 0);
    ck_assert_str_eq(file_after(NULL),
                     "HERE=1\nLD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n"); /* as the system has it */
    passwd_known = false;
    ck_assert_str_eq(file_after(NULL), "LD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    memset(deep, 'x', sizeof deep - 1);
    setenv("HOME", deep, 1);
    ck_assert_str_eq(file_after(NULL), "LD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    over();
}
END_TEST

START_TEST(what_cannot_be_handed_on)
{
    static const char *const values[] = {"$x", "a`b", "a\"b", "a\\b", "a\nb"};
    begin();
    setenv("PINTENSOR_REPORT", values[_i], 1);
    listen_to_output(STDERR_FILENO);
    ck_assert_str_eq(file_after(NULL), "LD_PRELOAD=" PRELOAD "\nPINTENSOR_STACK=full\n");
    ck_assert_str_eq(
        said(),
        "pintensor: PINTENSOR_REPORT has a character that DeepSpeed's launcher cannot hand on to other machines\n");
    over();
}
END_TEST

START_TEST(a_file_that_cannot_be_made)
{
    begin();
    file("deepspeed_env", "another's\n"); /* which nobody follows */
    (void)pt_remote_carry(WORDS("deepspeed"), PRELOAD, folder);
    ck_assert_ptr_null(getenv("DS_ENV_FILE"));
    ck_assert_str_eq(text_of(in("deepspeed_env")), "another's\n");
    over();
}
END_TEST

/* ---- Open MPI ---- */

/* The words that it is started with, in one line. */
static const char *started(char **argv)
{
    static char line[4096];
    char **words = pt_remote_carry(argv, PRELOAD, folder);
    line[0] = '\0';
    for (; *words != NULL; words++) {
        strcat(strcat(line, *words), words[1] != NULL ? " " : "");
    }
    return line;
}

#define TOLD(program)    program " -x PINTENSOR_STACK -x LD_PRELOAD -n 2 train"
#define PLAIN(program)   program " -n 2 train"
#define STARTED(program) started(WORDS(program, "-n", "2", "train"))

START_TEST(which_is_open_mpi)
{
    begin();
    setenv("LD_PRELOAD", PRELOAD, 1);
    setenv("OTHER", "1", 1);
    ck_assert_str_eq(STARTED("mpirun"), PLAIN("mpirun")); /* nowhere */
    file("bin/mpirun", "");
    ck_assert_str_eq(STARTED("mpirun"), PLAIN("mpirun")); /* another's */
    file("bin/ompi_info", "");
    ck_assert_str_eq(STARTED("mpirun"), TOLD("mpirun"));
    file("bin/orterun", "");
    file("bin/prterun", "");
    file("bin/mpiexec.hydra", "");
    file("bin/mpiexec.openmpi", "");
    file("bin/train", "");
    REQUIRE(symlink("orterun", in("bin/mpiexec")) == 0 && symlink("mpiexec.hydra", in("bin/mpirun.hydra")) == 0);
    ck_assert_str_eq(STARTED("orterun"), TOLD("orterun"));
    ck_assert_str_eq(STARTED("prterun"), TOLD("prterun"));
    ck_assert_str_eq(STARTED("mpiexec"), TOLD("mpiexec")); /* as a link leads there */
    ck_assert_str_eq(STARTED("mpiexec.openmpi"), TOLD("mpiexec.openmpi"));
    ck_assert_str_eq(STARTED("mpirun.hydra"), PLAIN("mpirun.hydra"));
    ck_assert_str_eq(STARTED("train"), PLAIN("train"));
    ck_assert_str_eq(STARTED("./bin/mpirun"), TOLD("./bin/mpirun"));
    ck_assert_str_eq(STARTED("./nowhere/mpirun"), PLAIN("./nowhere/mpirun"));
    over();
}
END_TEST

START_TEST(where_it_is_looked_for)
{
    static char deep[PATH_MAX + 32];
    begin();
    setenv("LD_PRELOAD", PRELOAD, 1);
    file("bin/orterun", "");
    memset(deep, 'x', sizeof deep - 1);
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "/nowhere:%s:%s", deep, in("bin")); /* no file can be in that */
    setenv("PATH", path, 1);
    ck_assert_str_eq(STARTED("orterun"), TOLD("orterun"));
    setenv("PATH", "/nowhere", 1);
    ck_assert_str_eq(STARTED("orterun"), PLAIN("orterun"));
    setenv("PATH", "", 1);
    ck_assert_str_eq(STARTED("orterun"), PLAIN("orterun"));
    unsetenv("PATH");
    ck_assert_str_eq(STARTED("orterun"), PLAIN("orterun"));
    over();
}
END_TEST

START_TEST(what_it_is_told_already)
{
    begin();
    setenv("LD_PRELOAD", PRELOAD, 1);
    file("bin/orterun", "");
    ck_assert_str_eq(started(WORDS("orterun", "-x", "LD_PRELOAD=x", "-x", "PINTENSOR_STACKS", "train")),
                     "orterun -x PINTENSOR_STACK -x LD_PRELOAD=x -x PINTENSOR_STACKS train");
    ck_assert_str_eq(started(WORDS("orterun", "-x", "PINTENSOR_STACK", "train")),
                     "orterun -x LD_PRELOAD -x PINTENSOR_STACK train");
    setenv("OMPI_MCA_mca_base_env_list", "X", 1); /* beside which -x is ignored */
    ck_assert_str_eq(STARTED("orterun"), PLAIN("orterun"));
    over();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("remote");
    tcase_add_test(tests, which_is_deepspeed);
    tcase_add_test(tests, slurm_hands_all_on);
    tcase_add_test(tests, what_the_file_says);
    tcase_add_test(tests, whose_home_it_is);
    tcase_add_loop_test(tests, what_cannot_be_handed_on, 0, 5);
    tcase_add_test(tests, a_file_that_cannot_be_made);
    tcase_add_test(tests, which_is_open_mpi);
    tcase_add_test(tests, where_it_is_looked_for);
    tcase_add_test(tests, what_it_is_told_already);
    return suite_run("remote", tests);
}
