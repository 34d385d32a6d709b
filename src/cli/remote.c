#include "cli/remote.h"

#include "base/job_record.h"

#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "PINTENSOR_"

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* deepspeed …, python … deepspeed …, python -m deepspeed … */
static bool is_deepspeed(char **argv)
{
    static const char *const scripts[] = {"deepspeed", "deepspeed.pt", "ds", NULL};
    static const char *const modules[] = {"deepspeed", "deepspeed.launcher.runner", NULL};
    if (is_one_of(base_of(argv[0]), scripts)) {
        return true;
    }
    if (strncmp(base_of(argv[0]), "python", strlen("python")) != 0) {
        return false;
    }
    for (argv++; *argv != NULL && argv[0][0] == '-'; argv++) {
        if (strcmp(*argv, "-m") == 0) {
            return argv[1] != NULL && is_one_of(argv[1], modules);
        }
    }
    return *argv != NULL && is_one_of(base_of(*argv), scripts);
}

/* srun hands everything on by itself, and what DeepSpeed would add parts values at their commas. */
static bool by_slurm(char **argv)
{
    for (; *argv != NULL; argv++) {
        if (strcasecmp(*argv, "--launcher=slurm") == 0 ||
            (strcmp(*argv, "--launcher") == 0 && argv[1] != NULL && strcasecmp(argv[1], "slurm") == 0)) {
            return true;
        }
    }
    return false;
}

static const char *home(void)
{
    const char *value = getenv("HOME");
    const struct passwd *user = value == NULL ? getpwuid(getuid()) : NULL;
    return value != NULL ? value : user != NULL ? user->pw_dir : "/";
}

/* What the file says goes to `out` as it is; an LD_PRELOAD there is kept in `theirs`. */
static void copy(const char *path, FILE *out, char theirs[PATH_MAX])
{
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while (in != NULL && (len = getline(&line, &room, in)) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "LD_PRELOAD=", strlen("LD_PRELOAD=")) == 0) {
            (void)snprintf(theirs, PATH_MAX, "%s", line + strlen("LD_PRELOAD="));
        } else {
            fprintf(out, "%s\n", line);
        }
    }
    free(line);
    if (in != NULL) {
        fclose(in);
    }
}

static bool is_ours(const char *entry)
{
    return strncmp(entry, PREFIX, strlen(PREFIX)) == 0 ||
           strncmp(entry, PT_JOB_VARIABLE "=", sizeof PT_JOB_VARIABLE) == 0;
}

/* The launcher reads the file of that name in the home directory, then the one here; an absolute name is both. The last
 * word on a variable counts, so what this command was told does. */
static bool write_file(const char *path, const char *preload)
{
    const char *name = getenv("DS_ENV_FILE");
    char one[PATH_MAX], theirs[PATH_MAX] = "";
    FILE *out = fopen(path, "wxe");
    if (out == NULL) {
        return false;
    }
    name = name != NULL ? name : ".deepspeed_env";
    if (name[0] != '/' && snprintf(one, sizeof one, "%s/%s", home(), name) < (int)sizeof one) {
        copy(one, out, theirs);
    }
    copy(name, out, theirs);
    bool there = strstr(theirs, preload) != NULL;
    fprintf(out, "LD_PRELOAD=%s%s%s\n", there ? "" : preload, there || theirs[0] == '\0' ? "" : ":", theirs);
    for (char **entry = environ; *entry != NULL; entry++) {
        if (!is_ours(*entry)) {
            continue;
        }
        if (strpbrk(*entry, "\n\"\\`$") != NULL) { /* DeepSpeed puts it into a command line, in double quotes at most */
            fprintf(stderr,
                    "pintensor: %.*s has a character that DeepSpeed's launcher cannot hand on to other machines\n",
                    (int)strcspn(*entry, "="), *entry);
            continue;
        }
        fprintf(out, "%s\n", *entry);
    }
    return fclose(out) == 0;
}

/* The path that execvp() would take. */
static bool find(const char *program, char path[PATH_MAX])
{
    char one[PATH_MAX];
    const char *at = getenv("PATH");
    if (strchr(program, '/') != NULL) {
        return realpath(program, path) != NULL;
    }
    for (; at != NULL && *at != '\0'; at += strcspn(at, ":"), at += *at == ':') {
        if (snprintf(one, sizeof one, "%.*s/%s", (int)strcspn(at, ":"), at, program) < (int)sizeof one &&
            access(one, X_OK) == 0) {
            return realpath(one, path) != NULL;
        }
    }
    return false;
}

/* Others than Open MPI's hand everything on, and some do not know -x. */
static bool is_open_mpi(const char *program)
{
    static const char *const always[] = {"orterun", "prterun", "mpirun.openmpi", "mpiexec.openmpi", NULL};
    static const char *const perhaps[] = {"mpirun", "mpiexec", NULL};
    char path[PATH_MAX], info[PATH_MAX + 16];
    if (strncmp(base_of(program), "mpi", 3) != 0 && !is_one_of(base_of(program), always)) {
        return false;
    }
    if (!find(program, path)) {
        return false;
    }
    if (is_one_of(base_of(path), perhaps)) {
        char directory[PATH_MAX];
        (void)snprintf(info, sizeof info, "%s/ompi_info", dirname(strcpy(directory, path)));
        return access(info, X_OK) == 0;
    }
    return is_one_of(base_of(path), always);
}

static bool has_word(char **argv, const char *name)
{
    size_t len = strlen(name);
    for (; *argv != NULL; argv++) {
        if (strncmp(*argv, name, len) == 0 && ((*argv)[len] == '\0' || (*argv)[len] == '=')) {
            return true;
        }
    }
    return false;
}

/* `mpirun -x NAME …` for each of ours that the command line does not name already. */
static char **with_exports(char **argv)
{
    size_t words = 0, variables = 0;
    for (; argv[words] != NULL; words++) {
    }
    for (; environ[variables] != NULL; variables++) {
    }
    char **longer = calloc(words + 2 * variables + 1, sizeof *longer), **at = longer;
    if (longer == NULL) {
        return argv;
    }
    *at++ = argv[0];
    for (size_t i = 0; i < variables; i++) {
        char *name = strndup(environ[i], strcspn(environ[i], "="));
        if (name != NULL && (is_ours(environ[i]) || strcmp(name, "LD_PRELOAD") == 0) && !has_word(argv, name)) {
            *at++ = (char *)"-x";
            *at++ = name;
        } else {
            free(name);
        }
    }
    memcpy(at, argv + 1, words * sizeof *at);
    return longer;
}

char **pt_remote_carry(char **argv, const char *preload, const char *directory)
{
    char path[PATH_MAX];
    if (directory != NULL && is_deepspeed(argv) && !by_slurm(argv)) {
        (void)snprintf(path, sizeof path, "%s/deepspeed_env", directory);
        if (write_file(path, preload)) {
            (void)setenv("DS_ENV_FILE", path, 1);
        }
    } else if (getenv("OMPI_MCA_mca_base_env_list") == NULL && is_open_mpi(argv[0])) { /* beside which it ignores -x */
        return with_exports(argv);
    }
    return argv;
}
