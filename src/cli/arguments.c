#include "cli/arguments.h"

#include "base/options.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pt_arguments_name pt_arguments_name(unsigned option)
{
    struct pt_arguments_name name = {""};
    const char *s = pt_option_row(option)->name;
    for (size_t i = 0; s[i] != '\0' && i + 1 < sizeof name.text; i++) {
        name.text[i] = s[i] == '_' ? '-' : (char)tolower((unsigned char)s[i]);
    }
    return name;
}

/* The program may change its directory before it opens the file. */
static const char *absolute(const char *value, char path[PATH_MAX])
{
    char here[PATH_MAX];
    if (*value == '\0' || *value == '/' || getcwd(here, sizeof here) == NULL ||
        snprintf(path, PATH_MAX, "%s/%s", here, value) >= PATH_MAX) {
        return value;
    }
    return path;
}

static bool set(unsigned option, const char *value)
{
    char variable[64], why[256], path[PATH_MAX];
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    if (!pt_option_takes(option, value, &t)) {
        fprintf(stderr, "pintensor: --%s=%s %s\n", pt_arguments_name(option).text, value, why);
        return false;
    }
    (void)snprintf(variable, sizeof variable, "PINTENSOR_%s", pt_option_row(option)->name);
    if (setenv(variable, option == PT_OPTION_REPORT ? absolute(value, path) : value, 1) != 0) {
        perror("pintensor: setenv");
        return false;
    }
    return true;
}

static void complain(const char *argument)
{
    char name[64] = "";
    if (strncmp(argument, "--", 2) != 0) {
        fprintf(stderr, "pintensor: %s is no option of run; see pintensor --help\n", argument);
        return;
    }
    for (size_t i = 0; argument[i + 2] != '\0' && argument[i + 2] != '=' && i + 1 < sizeof name; i++) {
        name[i] = argument[i + 2] == '-' ? '_' : (char)toupper((unsigned char)argument[i + 2]);
    }
    fprintf(stderr, "pintensor: %.*s is no option of run; did you mean --%s?\n", (int)strcspn(argument, "="), argument,
            pt_arguments_name(pt_option_nearest(name)).text);
}

enum pt_arguments_want pt_arguments_take(int argc, char **argv, char ***program)
{
    struct pt_arguments_name names[PT_OPTION_COUNT];
    struct option options[PT_OPTION_COUNT + 3] = {
        [PT_OPTION_COUNT] = {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
    enum { FIRST = 256 }; /* above all letters */
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        names[o] = pt_arguments_name(o);
        options[o] = (struct option){names[o].text, required_argument, NULL, (int)(FIRST + o)};
    }
    int got;
    opterr = 0;
    optind = 1;
    /* The first word that is no option ends them: what follows is the program's. */
    for (int at = optind; (got = getopt_long(argc, argv, "+:hV", options, NULL)) != -1; at = optind) {
        switch (got) {
        case 'h': return PT_ARGUMENTS_HELP;
        case 'V': return PT_ARGUMENTS_VERSION;
        case ':':
            fprintf(stderr, "pintensor: %s needs a value; see pintensor --help\n", argv[at]);
            return PT_ARGUMENTS_WRONG;
        case '?': complain(argv[at]); return PT_ARGUMENTS_WRONG;
        default:
            if (!set((unsigned)(got - FIRST), optarg)) {
                return PT_ARGUMENTS_WRONG;
            }
        }
    }
    *program = argv + optind;
    return PT_ARGUMENTS_RUN;
}
