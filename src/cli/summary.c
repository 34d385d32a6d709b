#include "cli/summary.h"

#include "base/job_record.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SHOWN_MOST = 8, RANKS_MOST = 1024 };

struct process {
    int pid, rank;
    unsigned sites;
    unsigned long long bytes;
    enum { LOST, CLEAN, RUNS, KILLED } end;
    char host[65], program[64], worst[256]; /* the line that lost most */
    bool told;
};

struct job {
    struct process *process;
    size_t processes;
    unsigned count[KILLED + 1];
    unsigned long long lost;
    char host[65];
    unsigned locals; /* ranks on this machine, of which those with a first rank + this are known to have it */
    int first;       /* the rank of the first of them */
    bool has[RANKS_MOST];
};

void pt_summary_begin(struct pt_summary *s)
{
    static const char *const ranks[] = {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
    const char *parent = getenv("TMPDIR");
    s->whole = true;
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        s->whole = s->whole && getenv(ranks[i]) == NULL;
    }
    if (snprintf(s->directory, sizeof s->directory, "%s/pintensor-job-XXXXXX",
                 parent != NULL && *parent == '/' ? parent : "/tmp") >= (int)sizeof s->directory ||
        mkdtemp(s->directory) == NULL || setenv(PT_JOB_VARIABLE, s->directory, 1) != 0) {
        s->directory[0] = '\0';
        (void)unsetenv(PT_JOB_VARIABLE); /* of a command around this one: it would count what is not its own */
    }
}

static void read_rank(struct job *job, const char *name)
{
    int rank;
    unsigned local, locals;
    char host[65] = "";
    if (sscanf(name, PT_JOB_RANK "%d.%u.%u.%64s", &rank, &local, &locals, host) >= 3 && strcmp(host, job->host) == 0 &&
        local < locals && locals <= RANKS_MOST) {
        job->locals = locals > job->locals ? locals : job->locals;
        job->first = rank - (int)local;
        job->has[local] = true;
    }
}

static void read_process(struct job *job, int directory, const char *name)
{
    char text[1024];
    struct process p = {.rank = -1, .end = KILLED};
    unsigned long long born;
    if (sscanf(name, PT_JOB_PROCESS "%d.%llu.%64s", &p.pid, &born, p.host) < 2) {
        return;
    }
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    (void)sscanf(text, "begun %d %63[^\n]", &p.rank, p.program);
    const char *ended = strstr(text, "\nended ");
    if (ended != NULL && sscanf(ended, "\nended %u %llu%*1[ ]%255[^\n]", &p.sites, &p.bytes, p.worst) >= 2) {
        p.end = p.sites > 0 ? LOST : CLEAN;
    } else if (strcmp(p.host, job->host) == 0 && (kill(p.pid, 0) == 0 || errno == EPERM)) {
        p.end = RUNS;
    }
    struct process *more = realloc(job->process, (job->processes + 1) * sizeof *more);
    if (more != NULL) {
        job->process = more;
        job->process[job->processes++] = p;
        job->count[p.end]++;
        job->lost += p.bytes;
    }
}

static int by_rank(const void *a, const void *b)
{
    const struct process *p = a, *q = b;
    return p->rank != q->rank ? (p->rank > q->rank) - (p->rank < q->rank) : (p->pid > q->pid) - (p->pid < q->pid);
}

/* Reads everything, and leaves nothing there. */
static void read_directory(struct job *job, const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
        if (strncmp(entry->d_name, PT_JOB_RANK, strlen(PT_JOB_RANK)) == 0) {
            read_rank(job, entry->d_name);
        } else if (strncmp(entry->d_name, PT_JOB_PROCESS, strlen(PT_JOB_PROCESS)) == 0) {
            read_process(job, dirfd(d), entry->d_name);
        }
    }
    if (d != NULL) {
        rewinddir(d);
        for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
            (void)unlinkat(dirfd(d), entry->d_name, 0);
        }
        closedir(d);
    }
    (void)rmdir(path);
    if (job->processes > 1) { /* there may be no list at all */
        qsort(job->process, job->processes, sizeof *job->process, by_rank);
    }
}

static const char *plural(unsigned long long n)
{
    return n == 1 ? "" : "s";
}

static void add_name(struct pt_text *out, const struct job *job, const struct process *p)
{
    pt_text_add(out, p->rank >= 0 ? "  rank %d (" : "  (", p->rank);
    pt_text_add(out, "pid %d, ", p->pid);
    if (strcmp(p->host, job->host) != 0) {
        pt_text_add(out, "on %s, ", p->host);
    }
    pt_text_add(out, "%S)", p->program);
}

/* How many lost the same as this one, itself included; they need not be told of any more. */
static unsigned tell_alike(struct job *job, size_t first)
{
    const struct process *p = &job->process[first];
    unsigned alike = 0;
    for (size_t i = first; i < job->processes; i++) {
        struct process *q = &job->process[i];
        if (q->end == LOST && !q->told && q->sites == p->sites && q->bytes == p->bytes &&
            (q->rank >= 0) == (p->rank >= 0) && strcmp(q->worst, p->worst) == 0) {
            q->told = true;
            alike++;
        }
    }
    return alike;
}

static void add_loss(struct pt_text *out, const struct process *p, bool each)
{
    pt_text_add(out, ": %B at %u site%s%s", (size_t)p->bytes, p->sites, plural(p->sites), each ? " each" : "");
    if (p->worst[0] != '\0') {
        pt_text_add(out, p->sites > 1 ? ", most at %S" : ": %S", p->worst);
    }
    pt_text_add(out, "\n");
}

static void add_processes(struct pt_text *out, struct job *job, int end, const struct pt_program *program)
{
    static const char *const words[] = {
        [RUNS] = "still runs", [KILLED] = "ended without a report: it was killed, or another program took its place"};
    unsigned shown = 0, lines = 0;
    for (size_t i = 0; i < job->processes && lines < SHOWN_MOST; i++) {
        struct process *p = &job->process[i];
        if (p->end != (unsigned)end || p->told) {
            continue;
        }
        lines++;
        unsigned alike = end == LOST ? tell_alike(job, i) : 1;
        shown += alike;
        if (alike > 1) {
            pt_text_add(out, "  %u %s alike", alike, p->rank >= 0 ? "ranks" : "processes");
        } else {
            add_name(out, job, p);
        }
        if (end == LOST) {
            add_loss(out, p, alike > 1);
        } else if (p->pid == program->pid && WIFSIGNALED(program->status)) {
            int number = WTERMSIG(program->status);
            pt_text_add(out, " was ended by signal %d (%s) and left no report\n", number, strsignal(number));
        } else {
            pt_text_add(out, " %s\n", words[end]);
        }
    }
    if (job->count[end] > shown) {
        pt_text_add(out, "  and %u more\n", job->count[end] - shown);
    }
}

static unsigned add_ranks_without(struct pt_text *out, const struct job *job)
{
    unsigned without = 0;
    for (unsigned local = 0; local < job->locals; local++) {
        if (!job->has[local] && ++without <= SHOWN_MOST) {
            pt_text_add(out, "  rank %d ran without pintensor: LD_PRELOAD did not reach it\n", job->first + (int)local);
        }
    }
    if (without > SHOWN_MOST) {
        pt_text_add(out, "  and %u more\n", without - SHOWN_MOST);
    }
    return without;
}

static void add_word(struct pt_text *out, const char *word)
{
    if (*word != '\0' &&
        word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")] == '\0') {
        pt_text_add(out, " %s", word);
        return;
    }
    pt_text_add(out, " '");
    for (; *word != '\0'; word++) {
        char one[2] = {(unsigned char)*word < ' ' || *word == 0x7f ? '?' : *word, '\0'};
        pt_text_add(out, "%s", *word == '\'' ? "'\\''" : one);
    }
    pt_text_add(out, "'");
}

static void add_next(struct pt_text *out, const struct job *job, int status, char **argv)
{
    const char *report = getenv("PINTENSOR_REPORT");
    if (job->count[LOST] > 0 && report != NULL && *report != '\0') {
        pt_text_add(out, "  next: less");
        char pattern[512];
        struct pt_text t; /* what stands for a pid or a rank may be anything */
        pt_text_init(&t, pattern, sizeof pattern, -1);
        for (const char *p = report; *p != '\0'; p++) {
            bool any = p[0] == '%' && (p[1] == 'p' || p[1] == 'r');
            char one[2] = {*p, '\0'};
            pt_text_add(&t, "%s", any ? "*" : one);
            p += any;
        }
        if (strchr(pattern, '*') != NULL && strpbrk(pattern, " '\"\\$`&|;<>()\n") == NULL) {
            pt_text_add(out, " %s\n", pattern);
        } else {
            add_word(out, pattern);
            pt_text_add(out, "\n");
        }
    } else if (job->count[LOST] > 0) {
        pt_text_add(out, "  next: pintensor run --stack=full --report='pintensor-%%p.txt' --");
        for (; *argv != NULL; argv++) {
            add_word(out, *argv);
        }
        pt_text_add(out, "\n");
    } else if (job->count[KILLED] > 0 && !(WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)) {
        pt_text_add(out, "  next: dmesg -T | grep -i 'killed process'\n");
    }
}

static void add_all(struct pt_text *out, struct job *job, bool ranks, const struct pt_program *program,
                    char **argv)
{
    if (job->processes == 0) {
        pt_text_add(out, "pintensor: after the run: no process here pinned memory through pintensor\n");
    } else if (job->count[LOST] == 0) {
        pt_text_add(out,
                    "pintensor: after the run: %llu process%s here pinned memory, none is known to have lost any\n",
                    (uint64_t)job->processes, job->processes == 1 ? "" : "es");
    } else {
        pt_text_add(out,
                    "pintensor: after the run: %u of %llu process%s that pinned memory here lost some, %B in all\n",
                    job->count[LOST], (uint64_t)job->processes, job->processes == 1 ? "" : "es", (size_t)job->lost);
    }
    add_processes(out, job, LOST, program);
    add_processes(out, job, KILLED, program);
    add_processes(out, job, RUNS, program);
    if (ranks) {
        (void)add_ranks_without(out, job);
    }
    add_next(out, job, program->status, argv);
}

void pt_summary_end(struct pt_summary *s, bool verbose, const struct pt_program *program, char **argv)
{
    if (s->directory[0] == '\0') {
        return;
    }
    static struct job job;
    struct utsname name;
    if (uname(&name) == 0) {
        (void)snprintf(job.host, sizeof job.host, "%s", name.nodename);
    }
    read_directory(&job, s->directory);
    bool missing = false;
    for (unsigned local = 0; s->whole && local < job.locals; local++) {
        missing = missing || !job.has[local];
    }
    if (verbose || missing || job.count[LOST] + job.count[KILLED] + job.count[RUNS] > 0) {
        static char buf[16384];
        struct pt_text out;
        pt_text_init(&out, buf, sizeof buf, -1); /* one write: other processes may write too */
        add_all(&out, &job, s->whole, program, argv);
        out.fd = STDERR_FILENO;
        pt_text_flush(&out);
    }
    free(job.process);
}
