#include "base/options.h"

#include "base/log.h"

#include <string.h>
#include <sys/auxv.h>

enum kind { CHOICE, SET, NUMBER, TEXT };

static const struct {
    const char *name;
    enum kind kind;
    const char *value, *values, *help;
} options[] = {
#define X(name, kind, value, values, help) {#name, kind, value, values, help},
#include "base/options.def"
#undef X
};

#define PREFIX "PINTENSOR_"

static struct {
    uint64_t number[PT_OPTION_COUNT];
    const char *text[PT_OPTION_COUNT];
    bool given[PT_OPTION_COUNT];
} set;

/* Index of word [s, s+n) in a list with commas, or -1. */
static int index_of(const char *list, const char *s, size_t n)
{
    for (int i = 0; *list != '\0'; i++) {
        size_t len = strcspn(list, ",");
        if (len == n && strncmp(list, s, n) == 0) {
            return i;
        }
        list += len + (list[len] == ',');
    }
    return -1;
}

static bool parse(unsigned o, const char *value, uint64_t *out)
{
    *out = 0;
    switch (options[o].kind) {
    case CHOICE: {
        int i = index_of(options[o].values, value, strlen(value));
        *out = (uint64_t)i;
        return i >= 0;
    }
    case SET:
        while (*value != '\0') {
            size_t len = strcspn(value, ",");
            int i = index_of(options[o].values, value, len);
            if (i < 0) {
                return false;
            }
            *out |= 1u << i;
            value += len + (value[len] == ',');
        }
        return true;
    case NUMBER: {
        uint64_t most = 0;
        (void)pt_text_parse_u64(options[o].values, &most);
        return pt_text_parse_u64(value, out) == 0 && *out <= most;
    }
    case TEXT: return true;
    }
    return false;
}

/* The beginning of what somebody wrote: as much as a line has room for. */
struct shown {
    char text[64];
};

static struct shown show(const char *s, size_t len)
{
    struct shown shown;
    bool fits = len < sizeof shown.text;
    size_t most = sizeof shown.text - sizeof "...";
    memcpy(shown.text, s, fits ? len : most);
    strcpy(shown.text + (fits ? len : most), fits ? "" : "...");
    return shown;
}

static void complain_value(unsigned o, const char *value)
{
    struct shown shown = show(value, strlen(value));
    switch (options[o].kind) {
    case NUMBER:
        pt_log("%s%s=%s is not a whole number from 0 to %s; using %s", PREFIX, options[o].name, shown.text,
               options[o].values, options[o].value);
        break;
    default:
        pt_log("%s%s=%s is not one of %s; using %s", PREFIX, options[o].name, shown.text, options[o].values,
               options[o].value);
    }
}

static void complain_name(const char *entry, size_t len)
{
    struct shown shown = show(entry, len);
    const char *name = shown.text;
    unsigned best = 0;
    for (unsigned o = 1; o < PT_OPTION_COUNT; o++) {
        if (pt_text_distance(name, options[o].name) < pt_text_distance(name, options[best].name)) {
            best = o;
        }
    }
    pt_log("unknown option %s%s ignored; did you mean %s%s?", PREFIX, name, PREFIX, options[best].name);
}

/* The environment is the program's: setproctitle() and its kin write over it. */
static const char *keep(const char *value)
{
    static char kept[4096];
    size_t len = strlen(value);
    len = len < sizeof kept - 1 ? len : sizeof kept - 1;
    memcpy(kept, value, len);
    kept[len] = '\0';
    return kept;
}

void pt_options_load(char **environment)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        set.text[o] = options[o].value;
        set.given[o] = false;
        (void)parse(o, options[o].value, &set.number[o]);
    }
    if (getauxval(AT_SECURE) != 0) {
        environment = NULL; /* that of somebody who has fewer rights than the program */
    }
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *entry = *environment;
        if (strncmp(entry, PREFIX, sizeof PREFIX - 1) != 0) {
            continue;
        }
        entry += sizeof PREFIX - 1;
        size_t len = strcspn(entry, "=");
        unsigned o = 0;
        while (o < PT_OPTION_COUNT &&
               (strlen(options[o].name) != len || strncmp(options[o].name, entry, len) != 0)) {
            o++;
        }
        if (o == PT_OPTION_COUNT) {
            complain_name(entry, len);
            continue;
        }
        const char *value = entry + len + (entry[len] == '=');
        uint64_t number;
        if (parse(o, value, &number)) {
            set.number[o] = number;
            set.given[o] = true;
            set.text[o] = options[o].kind == TEXT ? keep(value) : value;
        } else {
            complain_value(o, value);
        }
    }
}

uint64_t pt_option(enum pt_option option)
{
    return set.number[option];
}

const char *pt_option_text(enum pt_option option)
{
    return set.text[option] != NULL ? set.text[option] : "";
}

bool pt_option_given(enum pt_option option)
{
    return set.given[option];
}

bool pt_option_enabled(void)
{
    return set.number[PT_OPTION_ENABLE] == 0;
}

void pt_options_describe(struct pt_text *out, bool man)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        const char *what = options[o].kind == TEXT ? "text" : options[o].values;
        const char *none = options[o].value[0] == '\0' ? "none" : options[o].value;
        if (man) {
            pt_text_add(out, ".TP\n.B %s%s\n%s.\n", PREFIX, options[o].name, options[o].help);
        } else {
            pt_text_add(out, "  %s%s\n      %s\n", PREFIX, options[o].name, options[o].help);
        }
        pt_text_add(out, options[o].kind == NUMBER ? "%s(0 to %s; default %s)\n" : "%s(%s; default %s)\n",
                    man ? "" : "      ", what, none);
    }
}
