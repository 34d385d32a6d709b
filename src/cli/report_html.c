#include "cli/report_html.h"

#include "cli/report_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A page of more than 5 MiB is slow to open. One site is 16 KiB at most, its processes apart. */
#define DATA_MOST ((long)4 << 20)

static const char *const page[] = {
/* lines */
#include "cli/report_page.def"
};

int pt_report_html(FILE *out, const struct pt_model *m, const struct pt_suppressions *suppressions)
{
    char *json = NULL;
    size_t size = 0;
    FILE *data = open_memstream(&json, &size); /* it knows how much was written, as a pipe does not */
    if (data == NULL) {
        return -ENOMEM;
    }
    pt_report_json(data, m, suppressions, DATA_MOST);
    if (fclose(data) != 0) {
        free(json);
        return -ENOMEM;
    }
    for (size_t i = 0; i < sizeof page / sizeof page[0]; i++) {
        fputs(strcmp(page[i], "@DATA@\n") == 0 ? json : page[i], out);
    }
    free(json);
    return 0;
}
