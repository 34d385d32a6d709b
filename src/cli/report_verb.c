#include "cli/report_verb.h"

#include "base/options.h"
#include "cli/pages.h"
#include "cli/report_diff.h"
#include "cli/report_folded.h"
#include "cli/report_html.h"
#include "cli/report_json.h"
#include "cli/report_model.h"
#include "cli/report_options.h"
#include "cli/report_suppress.h"
#include "cli/report_text.h"
#include "cli/tables.h"

#include <stdio.h>
#include <stdlib.h>

struct job {
    struct pt_report_wish wish;
    struct pt_report_side side[2]; /* the first, unless two are compared */
    struct pt_report_side *now;
    struct pt_suppressions suppressions;
};

static void visit(void *context, struct pt_tables_one *one)
{
    struct job *job = context;
    pt_suppressions_apply(&job->suppressions, one);
    pt_model_add(&job->now->model, one);
    if (job->wish.format == PT_REPORT_OPTIONS) {
        pt_report_text(one);
    }
}

/* Returns PT_FAIL_* bits. */
static unsigned tell(struct job *job)
{
    struct pt_model *m = &job->side[0].model;
    if (job->wish.format == PT_REPORT_DIFF) {
        return pt_report_diff(&job->side[0], &job->side[1]);
    }
    unsigned fail_on = job->wish.fail_on;
    pt_model_sort(m);
    switch (job->wish.format) {
    case PT_REPORT_JSON: pt_report_json(stdout, m, &job->suppressions, 0); break;
    case PT_REPORT_FOLDED: pt_report_folded(stdout, m, job->wish.held); break;
    case PT_REPORT_HTML:
        if (pt_report_html(stdout, m, &job->suppressions) != 0) {
            fprintf(stderr, "pintensor: no memory left for the page\n");
            exit(1);
        }
        break;
    case PT_REPORT_PRINT_SUPPRESSIONS:
        pt_suppressions_print(m, fail_on != 0 ? fail_on : PT_FAIL_GROWING | PT_FAIL_RECLAIMED, stdout);
        return 0; /* the words say what to write, and are no failure */
    default: pt_suppressions_tell(&job->suppressions, stdout); break;
    }
    return pt_model_found_all(m);
}

/* Returns 0, or 1 if something could not be read. */
static int read_all(struct job *job, int count, char **paths)
{
    job->now = &job->side[0];
    if (job->wish.format != PT_REPORT_DIFF) {
        return pt_tables_each(count, paths, visit, job);
    }
    int status = 0;
    for (int i = 0; i < 2; i++) {
        job->now = &job->side[i];
        job->now->name = paths[i];
        status |= pt_tables_each(1, &paths[i], visit, job);
    }
    return status;
}

int pt_report_verb(int argc, char **argv)
{
    static struct job job;
    if (!pt_report_options_take(argc, argv, &job.wish)) {
        return 2;
    }
    if (job.wish.help) {
        return pt_pages_help();
    }
    if (job.wish.suppressions != NULL && !pt_suppressions_read(&job.suppressions, job.wish.suppressions)) {
        return 2;
    }
    int status = read_all(&job, argc - job.wish.paths, argv + job.wish.paths);
    bool any = job.side[0].model.processes > 0, both = any && job.side[1].model.processes > 0;
    unsigned found = (job.wish.format == PT_REPORT_DIFF ? both : any) ? tell(&job) : 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("pintensor: stdout");
        return 1;
    }
    return status != 0 ? status : (found & job.wish.fail_on) != 0 ? 3 : 0;
}
