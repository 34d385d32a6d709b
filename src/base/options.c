#include "base/options.h"

#include "base/limit_text.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

static const struct pt_option_row options[] = {
#define X(name, kind, value, values, help) {#name, PT_KIND_##kind, value, values, help},
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

/* What people write for on and off elsewhere. */
static const char *on_or_off(const char *values, const char *value)
{
    static const char *const same[][2] = {{"1", "on"}, {"true", "on"}, {"0", "off"}, {"false", "off"}};
    bool takes =
        index_of(values, "on", 2) >= 0 && index_of(values, "off", 3) >= 0 && strlen(values) == strlen("on,off");
    for (unsigned i = 0; takes && i < sizeof same / sizeof same[0]; i++) {
        if (strcmp(value, same[i][0]) == 0) {
            return same[i][1];
        }
    }
    return value;
}

static bool parse(unsigned o, const char *value, uint64_t *out)
{
    *out = 0;
    switch (options[o].kind) {
    case PT_KIND_CHOICE: {
        value = on_or_off(options[o].values, value);
        int i = index_of(options[o].values, value, strlen(value));
        *out = (uint64_t)i;
        return i >= 0;
    }
    case PT_KIND_SET:
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
    case PT_KIND_NUMBER: {
        uint64_t most = 0;
        (void)pt_text_parse_u64(options[o].values, &most);
        return pt_text_parse_u64(value, out) == 0 && *out <= most;
    }
    case PT_KIND_TEXT: return true;
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

static void say_what_it_is_not(unsigned o, struct pt_text *why)
{
    pt_text_add(why, options[o].kind == PT_KIND_NUMBER ? "is not a whole number from 0 to %s" : "is not one of %s",
                options[o].values);
}

static void complain_value(unsigned o, const char *value)
{
    struct shown shown = show(value, strlen(value));
    char why[256];
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    say_what_it_is_not(o, &t);
    pt_log("%s%s=%s %s; using %s", PREFIX, options[o].name, shown.text, why, options[o].value);
}

static void complain_name(const char *entry, size_t len)
{
    struct shown shown = show(entry, len);
    pt_log("unknown option %s%s ignored; did you mean %s%s?", PREFIX, shown.text, PREFIX,
           options[pt_option_nearest(shown.text)].name);
}

/* The environment is the program's: setproctitle() and its kin write over it. */
static const char *keep(unsigned o, const char *value)
{
    enum {
        PATH = 4096,
#define X(name, kind, value, values, help) IS_TEXT_##name = PT_KIND_##kind == PT_KIND_TEXT,
#include "base/options.def"
#undef X
#define X(name, kind, value, values, help) IS_TEXT_##name +
        TEXTS =
#include "base/options.def"
            0,
#undef X
    };
    static char kept[TEXTS][PATH];
    unsigned before = 0; /* text options ahead of this one */
    for (unsigned i = 0; i < o; i++) {
        before += options[i].kind == PT_KIND_TEXT;
    }
    char *to = kept[before];
    size_t len = strlen(value);
    len = len < PATH - 1 ? len : PATH - 1;
    memcpy(to, value, len);
    to[len] = '\0';
    return to;
}

static void reset(void)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        set.text[o] = options[o].value;
        set.given[o] = false;
        (void)parse(o, options[o].value, &set.number[o]);
    }
}

static void take(unsigned o, const char *value)
{
    uint64_t number = 0;
    if (parse(o, value, &number)) {
        set.number[o] = number;
        set.given[o] = true;
        set.text[o] = options[o].kind == PT_KIND_TEXT ? keep(o, value) : value;
    } else {
        complain_value(o, value);
    }
}

/* The option that an entry of the environment sets, or PT_OPTION_COUNT, and how long its name is; false: it is not for
 * us. */
static bool is_ours(const char *entry, unsigned *o, size_t *len)
{
    if (strncmp(entry, PREFIX, sizeof PREFIX - 1) != 0) {
        return false;
    }
    entry += sizeof PREFIX - 1;
    *len = strcspn(entry, "=");
    for (*o = 0; *o < PT_OPTION_COUNT; (*o)++) {
        if (strlen(options[*o].name) == *len && strncmp(options[*o].name, entry, *len) == 0) {
            break;
        }
    }
    return true;
}

void pt_options_load(char **environment)
{
    unsigned o;
    size_t len;
    reset();
    for (; environment != NULL && *environment != NULL; environment++) {
        if (is_ours(*environment, &o, &len)) {
            const char *name = *environment + sizeof PREFIX - 1;
            if (o == PT_OPTION_COUNT) {
                complain_name(name, len);
            } else {
                take(o, name + len + (name[len] == '='));
            }
        }
    }
}

/* Names that mean nothing, as they were when the library was loaded: later another thread may be changing the
 * environment, which only getenv() may be asked about then, by name. */
static struct {
    char name[4][128];
    unsigned count;
} unknown;

__attribute__((constructor)) static void note_unknown(void)
{
    unsigned o;
    size_t len;
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        if (is_ours(*entry, &o, &len) && o == PT_OPTION_COUNT &&
            unknown.count < sizeof unknown.name / sizeof unknown.name[0]) {
            char *to = unknown.name[unknown.count++];
            len = len < sizeof unknown.name[0] - 1 ? len : sizeof unknown.name[0] - 1;
            memcpy(to, *entry + sizeof PREFIX - 1, len);
            to[len] = '\0';
        }
    }
}

void pt_options_load_own(void)
{
    reset();
    if (getauxval(AT_SECURE) != 0) {
        return; /* the environment is that of somebody who has fewer rights than the program */
    }
    for (unsigned i = 0; i < unknown.count; i++) {
        char name[sizeof PREFIX + sizeof unknown.name[0]] = PREFIX;
        size_t len = strlen(unknown.name[i]);
        bool cut = len + 1 == sizeof unknown.name[i];
        if (cut || getenv(strcat(name, unknown.name[i])) != NULL) { /* still there */
            complain_name(unknown.name[i], len);
        }
    }
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        char name[64];
        struct pt_text t;
        pt_text_init(&t, name, sizeof name, -1);
        pt_text_add(&t, "%s%s", PREFIX, options[o].name);
        const char *value = getenv(name);
        if (value != NULL) {
            take(o, value);
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

const struct pt_option_row *pt_option_row(unsigned option)
{
    return &options[option];
}

unsigned pt_option_nearest(const char *name)
{
    unsigned best = 0;
    for (unsigned o = 1; o < PT_OPTION_COUNT; o++) {
        if (pt_text_distance(name, options[o].name) < pt_text_distance(name, options[best].name)) {
            best = o;
        }
    }
    return best;
}

bool pt_option_takes(unsigned option, const char *value, struct pt_text *why)
{
    uint64_t number;
    struct pt_limit_text limit;
    if (option == PT_OPTION_LIMIT && pt_limit_text_parse(value, &limit) != 0) {
        pt_text_add(why, "is not %s", PT_LIMIT_TEXT_FORMS);
        return false;
    }
    bool takes = parse(option, value, &number);
    if (!takes) {
        say_what_it_is_not(option, why);
    }
    return takes;
}

void pt_options_describe(struct pt_text *out, bool man)
{
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        const char *what = options[o].kind == PT_KIND_TEXT ? "text" : options[o].values;
        const char *none = options[o].value[0] == '\0' ? "none" : options[o].value;
        if (man) {
            pt_text_add(out, ".TP\n.B %s%s\n%s.\n", PREFIX, options[o].name, options[o].help);
        } else {
            pt_text_add(out, "  %s%s\n      %s\n", PREFIX, options[o].name, options[o].help);
        }
        pt_text_add(out, options[o].kind == PT_KIND_NUMBER ? "%s(0 to %s; default %s)\n" : "%s(%s; default %s)\n",
                    man ? "" : "      ", what, none);
    }
}
