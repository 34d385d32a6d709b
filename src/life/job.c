#include "life/job.h"

#include "base/job_record.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "ledger/place.h"
#include "report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static char directory[512]; /* empty: nobody asked */

static void write_file(const char *path, int flags, const char *words)
{
    int error = errno, fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
    if (fd >= 0) {
        if (write(fd, words, strlen(words)) < 0) {
            /* the command will say that this process ended without a report: it was not told otherwise */
        }
        (void)close(fd);
    }
    errno = error;
}

static void add_host(struct pt_text *path)
{
    struct utsname name;
    pt_text_add(path, ".%s", uname(&name) == 0 ? name.nodename : "");
}

static bool number_of(const char *variable, uint64_t *number)
{
    const char *value = secure_getenv(variable);
    return value != NULL && pt_text_parse_u64(value, number) == 0 && *number <= INT32_MAX;
}

/* Which of how many ranks on this machine, as launchers say it. */
static void mark_rank(void)
{
    static const char *const names[][2] = {
        {"LOCAL_RANK", "LOCAL_WORLD_SIZE"}, /* torchrun */
        {"LOCAL_RANK", "LOCAL_SIZE"},       /* deepspeed */
        {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
        {"MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    };
    uint64_t local, locals;
    int rank = pt_log_rank();
    for (size_t i = 0; rank >= 0 && i < sizeof names / sizeof names[0]; i++) {
        if (number_of(names[i][0], &local) && number_of(names[i][1], &locals)) {
            char path[sizeof directory + 128];
            struct pt_text t;
            pt_text_init(&t, path, sizeof path, -1);
            pt_text_add(&t, "%s/" PT_JOB_RANK "%d.%llu.%llu", directory, rank, local, locals);
            add_host(&t);
            write_file(path, O_CREAT | O_EXCL, "");
            return;
        }
    }
}

/* The environment is the program's, which may write over it. */
__attribute__((constructor)) static void look_who_asks(void)
{
    const char *value = secure_getenv(PT_JOB_VARIABLE);
    if (value != NULL && value[0] == '/' && strlen(value) < sizeof directory) {
        strcpy(directory, value);
        mark_rank();
    }
}

static void tell(int flags, const char *words)
{
    char path[sizeof directory + 128];
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_text_add(&t, "%s/" PT_JOB_PROCESS "%d.%llu", directory, pt_table()->pid, pt_table()->born_ns);
    add_host(&t);
    write_file(path, flags, words);
}

void pt_job_begin(void)
{
    if (directory[0] != '\0' && pt_sandbox_may_open()) {
        char words[128];
        struct pt_text t;
        pt_text_init(&t, words, sizeof words - 1, -1);
        pt_text_add(&t, "begun %d %S", pt_table()->rank, pt_table_string(pt_table()->program));
        t.cap++; /* the line ends, however long the name */
        pt_text_add(&t, "\n");
        tell(O_CREAT | O_EXCL, words);
    }
}

void pt_job_end(void)
{
    if (directory[0] != '\0' && pt_sandbox_may_open()) {
        char words[512];
        struct pt_report r;
        struct pt_text t;
        pt_report_of_table(&r);
        struct pt_report_lost lost = pt_report_lost(&r);
        pt_text_init(&t, words, sizeof words - 1, -1);
        pt_text_add(&t, "ended %u %llu ", lost.sites, lost.bytes);
        if (lost.sites > 0) {
            struct pt_site worst;
            pt_table_copy_site(&r.site[lost.worst], &worst);
            pt_place_of_site(&worst, &t);
        }
        t.cap++;
        pt_text_add(&t, "\n");
        tell(O_APPEND, words);
    }
}
