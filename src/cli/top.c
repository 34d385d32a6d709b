#include "cli/top.h"

#include "base/path.h"
#include "cli/screen.h"
#include "cli/watched.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static struct {
    bool once;
    int interval_ms;
    char directory[PATH_MAX];
} wanted = {.interval_ms = 1000};

/* ---- what is shown ---- */

struct size {
    char text[24];
};

static struct size size_of(uint64_t bytes)
{
    struct size s;
    struct pt_text t;
    pt_text_init(&t, s.text, sizeof s.text, -1);
    pt_text_add(&t, "%B", (size_t)bytes);
    return s;
}

static void print_row(FILE *out, const struct pt_watched *w)
{
    static const char *const states[] = {"", "(ended)", "(killed, or ended by a crash)"};
    fprintf(out, "%5d %8d %-15.15s %10s %10s %10s %10s %10s  %s\n", w->rank, w->pid, w->program, size_of(w->live).text,
            size_of(w->locked).text, size_of(w->cached).text, size_of(w->peak).text, size_of(w->others).text,
            w->state == PT_WATCHED_RUNS ? w->line : states[w->state]);
}

/* The block's text, to be freed; NULL: no memory. `running` is told how many run. */
static char *write_block(const struct pt_watched_all *w, size_t *running)
{
    char *text = NULL, when[16] = "";
    size_t len;
    uint64_t live = 0, locked = 0;
    struct tm local;
    time_t now = time(NULL);
    FILE *out = open_memstream(&text, &len);
    *running = 0;
    for (size_t i = 0; i < w->count; i++) {
        bool runs = w->all[i].state == PT_WATCHED_RUNS;
        *running += runs;
        live += runs ? w->all[i].live : 0;
        locked += runs ? w->all[i].locked : 0;
    }
    if (out == NULL) {
        return NULL;
    }
    if (localtime_r(&now, &local) != NULL) {
        (void)strftime(when, sizeof when, "%H:%M:%S", &local);
    }
    fprintf(out, "pintensor top %s: %zu running, live %s, locked %s\n", when, *running, size_of(live).text,
            size_of(locked).text);
    fprintf(out, "%5s %8s %-15s %10s %10s %10s %10s %10s  %s\n", "rank", "pid", "program", "live", "locked", "cached",
            "peak", "others", "top line");
    for (size_t i = 0; i < w->count; i++) {
        if (w->all[i].seen_running) {
            print_row(out, &w->all[i]);
        }
    }
    return fclose(out) == 0 ? text : NULL;
}

/* ---- what was typed ---- */

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "pintensor: %s%s%s\n", what, *why != '\0' ? ": " : "", why);
    return 1;
}

/* From 10 ms to an hour. */
static bool take_interval(const char *value)
{
    char *end;
    double seconds = strtod(value, &end);
    if (end == value || *end != '\0' || !(seconds >= 0.01 && seconds <= 3600)) {
        return false;
    }
    wanted.interval_ms = (int)(seconds * 1000);
    return true;
}

static int take_directory(const char *typed)
{
    const char *variable = getenv("PINTENSOR_DIR");
    struct stat about;
    struct pt_text t;
    if (typed == NULL) {
        if (variable == NULL || *variable == '\0') {
            return complain("top of what? Give the directory that jobs were started with (PINTENSOR_DIR, "
                            "`pintensor run --dir=DIRECTORY`), or a PID of one",
                            "");
        }
        if (strstr(variable, "%p") != NULL || strstr(variable, "%r") != NULL) {
            return complain(variable, "PINTENSOR_DIR is another directory for each process; give one of them");
        }
        pt_text_init(&t, wanted.directory, sizeof wanted.directory, -1);
        pt_path_add(&t, variable, 0, 0);
        return 0;
    }
    if (typed[strspn(typed, "0123456789")] == '\0' && stat(typed, &about) != 0) {
        long pid = strtol(typed, NULL, 10);
        return pid > 0 && pid <= INT_MAX && pt_watched_directory_of((int)pid, wanted.directory, sizeof wanted.directory)
                   ? 0
                   : complain(typed, "neither that process nor one it started keeps a table that this user may read; "
                                     "PINTENSOR_DIR makes them");
    }
    return snprintf(wanted.directory, sizeof wanted.directory, "%s", typed) < (int)sizeof wanted.directory
               ? 0
               : complain(typed, strerror(ENAMETOOLONG));
}

/* 0, or the exit status. */
static int take(int argc, char **argv)
{
    static const struct option options[] = {
        {"once", no_argument, NULL, 'o'}, {"interval", required_argument, NULL, 'i'}, {0}};
    int got;
    opterr = 0;
    while ((got = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (got == 'o') {
            wanted.once = true;
        } else if (got == 'i' && !take_interval(optarg)) {
            fprintf(stderr, "pintensor: --interval=%s is not a number of seconds from 0.01 to 3600\n", optarg);
            return 2;
        } else if (got != 'i') {
            fprintf(stderr,
                    "pintensor: %s is wrong here; usage: pintensor top [--once] [--interval=SECONDS] [PID|DIRECTORY]\n",
                    argv[optind - 1]);
            return 2;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "pintensor: top of one directory or PID at a time\n");
        return 2;
    }
    return take_directory(argv[optind]);
}

int pt_top(int argc, char **argv)
{
    static struct pt_watched_all all;
    size_t running;
    char *text;
    int status = take(argc, argv);
    if (status != 0) {
        return status;
    }
    int error = pt_watched_look(&all, wanted.directory);
    if (error != 0) {
        return complain(wanted.directory, strerror(-error));
    }
    if (wanted.once) {
        text = write_block(&all, &running);
        if (running == 0) {
            return complain(wanted.directory, "no process with a table here runs on this machine");
        }
        return text == NULL || fputs(text, stdout) < 0 || fflush(stdout) != 0;
    }
    pt_screen_begin();
    while (error == 0 && (text = write_block(&all, &running)) != NULL) {
        bool goes_on = pt_screen_show(text) && pt_screen_wait(wanted.interval_ms);
        free(text);
        if (!goes_on) {
            break;
        }
        error = pt_watched_look(&all, wanted.directory);
    }
    pt_screen_end();
    return error != 0 ? complain(wanted.directory, strerror(-error)) : 0;
}
