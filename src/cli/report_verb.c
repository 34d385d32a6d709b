#include "cli/report_verb.h"

#include "cli/pages.h"
#include "cli/report_folded.h"
#include "cli/report_json.h"
#include "cli/report_model.h"
#include "cli/report_options.h"
#include "cli/report_text.h"
#include "cli/tables.h"

#include <stdio.h>

struct job {
    struct pt_report_wish wish;
    struct pt_model model;
};

static void visit(void *context, struct pt_tables_one *one)
{
    struct job *job = context;
    pt_model_add(&job->model, one);
    if (job->wish.format == PT_REPORT_OPTIONS) {
        pt_report_text(one);
    }
}

static void tell(struct job *job)
{
    pt_model_sort(&job->model);
    switch (job->wish.format) {
    case PT_REPORT_JSON: pt_report_json(stdout, &job->model, 0); break;
    case PT_REPORT_FOLDED: pt_report_folded(stdout, &job->model, job->wish.held); break;
    default: break;
    }
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
    int status = pt_tables_each(argc - job.wish.paths, argv + job.wish.paths, visit, &job);
    if (job.model.processes > 0) {
        tell(&job);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("pintensor: stdout");
        return 1;
    }
    return status != 0 ? status : (pt_model_found_all(&job.model) & job.wish.fail_on) != 0 ? 3 : 0;
}
