#include "base/options.h"
#include "suite.h"

/* The table once more: what a test says of an option it says of all. */
static const struct option {
    const char *name, *kind, *value, *values;
} options[] = {
#define X(name, kind, value, values, help) {#name, #kind, value, values},
#include "base/options.def"
#undef X
};
#define OPTIONS (sizeof options / sizeof options[0])

static bool is(const struct option *o, const char *kind)
{
    return strcmp(o->kind, kind) == 0;
}

static void load(const char *entry)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", entry);
    static char kept[256]; /* the library keeps pointers into the environment */
    memcpy(kept, copy, sizeof kept);
    pt_options_load((char *[]){(char *)"PATH=/bin", kept, NULL});
}

static void load_value(const struct option *o, const char *value)
{
    char entry[256];
    snprintf(entry, sizeof entry, "PINTENSOR_%s=%s", o->name, value);
    load(entry);
}

static uint64_t default_of(const struct option *o)
{
    uint64_t value;
    load_value(o, o->value);
    value = pt_option((enum pt_option)(o - options));
    pt_options_load(NULL);
    return value;
}

/* The n-th word of a list with commas; NULL past the end. */
static const char *word(const char *list, unsigned n)
{
    static char buf[64];
    for (; n > 0; n--) {
        list = strchr(list, ',');
        if (list == NULL) {
            return NULL;
        }
        list++;
    }
    size_t len = strcspn(list, ",");
    memcpy(buf, list, len);
    buf[len] = '\0';
    return buf;
}

START_TEST(defaults_without_a_word)
{
    catch_stderr();
    pt_options_load((char *[]){(char *)"PATH=/bin", (char *)"PINTENSORY=1", NULL});
    for (unsigned o = 0; o < OPTIONS; o++) {
        ck_assert_str_eq(pt_option_text(o), options[o].value);
        ck_assert_uint_eq(pt_option(o), default_of(&options[o]));
    }
    ck_assert(pt_option_enabled());
    ck_assert_uint_eq(pt_option(PT_OPTION_STACK), PT_STACK_PYTHON);
    ck_assert_uint_eq(pt_option(PT_OPTION_ON_LIMIT), PT_LIMIT_ERROR);
    ck_assert_uint_eq(pt_option(PT_OPTION_RECLAIM), PT_RECLAIM_DROP);
    ck_assert_uint_eq(pt_option(PT_OPTION_TORCH), PT_TORCH_ON);
    ck_assert_uint_eq(pt_option(PT_OPTION_IDLE), 10);
    ck_assert_uint_eq(pt_option(PT_OPTION_EXITCODE), 0);
    ck_assert_uint_eq(pt_option(PT_OPTION_FAIL_ON), PT_FAIL_GROWING | PT_FAIL_RECLAIMED);
    ck_assert_str_eq(suite_stderr(), "");
}
END_TEST

START_TEST(every_valid_value_is_taken)
{
    catch_stderr();
    for (unsigned o = 0; o < OPTIONS; o++) {
        if (is(&options[o], "NUMBER")) {
            load_value(&options[o], options[o].values);
            ck_assert_uint_eq(pt_option(o), strtoull(options[o].values, NULL, 10));
            load_value(&options[o], "0");
            ck_assert_uint_eq(pt_option(o), 0);
        } else if (is(&options[o], "TEXT")) {
            load_value(&options[o], "/any/text=even this");
            ck_assert_str_eq(pt_option_text(o), "/any/text=even this");
        } else {
            const char *w;
            for (unsigned i = 0; (w = word(options[o].values, i)) != NULL; i++) {
                load_value(&options[o], w);
                ck_assert_uint_eq(pt_option(o), is(&options[o], "SET") ? 1u << i : i);
            }
        }
    }
    load("PINTENSOR_FAIL_ON=held,growing");
    ck_assert_uint_eq(pt_option(PT_OPTION_FAIL_ON), PT_FAIL_HELD | PT_FAIL_GROWING);
    load("PINTENSOR_FAIL_ON=");
    ck_assert_uint_eq(pt_option(PT_OPTION_FAIL_ON), 0);
    load("PINTENSOR_ENABLE=off");
    ck_assert(!pt_option_enabled());
    ck_assert_str_eq(suite_stderr(), "");
}
END_TEST

START_TEST(on_and_off_have_other_names)
{
    catch_stderr();
    for (unsigned o = 0; o < OPTIONS; o++) {
        static const char *const same[][2] = {{"1", "on"}, {"true", "on"}, {"0", "off"}, {"false", "off"}};
        bool takes = strcmp(options[o].values, "on,off") == 0 || strcmp(options[o].values, "off,on") == 0;
        for (unsigned i = 0; takes && i < sizeof same / sizeof same[0]; i++) {
            load_value(&options[o], same[i][1]);
            uint64_t wanted = pt_option(o);
            load_value(&options[o], same[i][0]);
            ck_assert_msg(pt_option(o) == wanted, "%s=%s", options[o].name, same[i][0]);
        }
    }
    load("PINTENSOR_ENABLE=false");
    ck_assert(!pt_option_enabled());
    ck_assert_str_eq(suite_stderr(), "");
    load("PINTENSOR_STACK=1"); /* has an off, but is no switch */
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
}
END_TEST

START_TEST(a_value_is_checked_without_being_set)
{
    for (unsigned o = 0; o < OPTIONS; o++) {
        char buf[256];
        struct pt_text why;
        pt_text_init(&why, buf, sizeof buf, -1);
        ck_assert(pt_option_takes(o, options[o].value, &why));
        ck_assert_str_eq(buf, "");
        if (!is(&options[o], "TEXT")) {
            ck_assert(!pt_option_takes(o, "nonsense", &why));
            ck_assert_ptr_nonnull(strstr(buf, options[o].values));
        }
        ck_assert_uint_eq(pt_option_nearest(options[o].name), o);
    }
}
END_TEST

START_TEST(a_bad_value_costs_one_line_and_leaves_the_default)
{
    catch_stderr();
    unsigned lines = 0;
    for (unsigned o = 0; o < OPTIONS; o++) {
        if (is(&options[o], "TEXT")) {
            continue;
        }
        uint64_t value = default_of(&options[o]);
        static const char *const bad[] = {"-1", "nonsense", "1000000", "on,growing,what", "1 "};
        for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            load_value(&options[o], bad[i]);
            ck_assert_msg(pt_option(o) == value, "%s=%s", options[o].name, bad[i]);
            ck_assert_str_eq(pt_option_text(o), options[o].value);
            ck_assert_uint_eq(lines_of(suite_stderr()), ++lines);
            char say[128];
            snprintf(say, sizeof say, "pintensor: PINTENSOR_%s=%s is not ", options[o].name, bad[i]);
            ck_assert_ptr_nonnull(strstr(suite_stderr(), say));
        }
    }
}
END_TEST

START_TEST(each_text_is_kept_by_itself)
{
    static char *environment[] = {"PINTENSOR_DIR=/a/directory", "PINTENSOR_REPORT=a report", NULL};
    pt_options_load(environment);
    ck_assert_str_eq(pt_option_text(PT_OPTION_DIR), "/a/directory");
    ck_assert_str_eq(pt_option_text(PT_OPTION_REPORT), "a report");
}
END_TEST

START_TEST(an_unknown_name_costs_one_line_with_the_nearest)
{
    static const char *const said[][2] = {
        {"PINTENSOR_REPROT=x", "unknown option PINTENSOR_REPROT ignored; did you mean PINTENSOR_REPORT?"},
        {"PINTENSOR_EXIT_CODE=3", "unknown option PINTENSOR_EXIT_CODE ignored; did you mean PINTENSOR_EXITCODE?"},
        {"PINTENSOR_FAILON", "unknown option PINTENSOR_FAILON ignored; did you mean PINTENSOR_FAIL_ON?"},
        {"PINTENSOR_STACKS=off", "unknown option PINTENSOR_STACKS ignored; did you mean PINTENSOR_STACK?"},
        {"PINTENSOR_=", "unknown option PINTENSOR_ ignored"},
    };
    catch_stderr();
    for (unsigned i = 0; i < sizeof said / sizeof said[0]; i++) {
        load(said[i][0]);
        ck_assert_msg(strstr(suite_stderr(), said[i][1]) != NULL, "%s", suite_stderr());
        ck_assert_uint_eq(lines_of(suite_stderr()), i + 1);
        ck_assert_uint_eq(pt_option(PT_OPTION_STACK), PT_STACK_PYTHON);
    }
}
END_TEST

START_TEST(a_name_as_long_as_a_page_is_cut_off)
{
    static char entry[5000] = "PINTENSOR_";
    memset(entry + 10, 'X', sizeof entry - 12);
    catch_stderr();
    pt_options_load((char *[]){entry, NULL});
    ck_assert_uint_eq(lines_of(suite_stderr()), 1);
}
END_TEST

START_TEST(describe_lists_every_name_value_and_default)
{
    for (int man = 0; man <= 1; man++) {
        static char buf[16384];
        struct pt_text t;
        pt_text_init(&t, buf, sizeof buf, -1);
        pt_options_describe(&t, man);
        const char *at = buf;
        for (unsigned o = 0; o < OPTIONS; o++) {
            char name[64], fact[128];
            snprintf(name, sizeof name, "PINTENSOR_%s\n", options[o].name);
            at = strstr(at, name);
            ck_assert_msg(at != NULL, "%s is missing", name);
            snprintf(fact, sizeof fact, is(&options[o], "NUMBER") ? "0 to %s; default %s)" : "%s; default %s)",
                     is(&options[o], "TEXT") ? "text" : options[o].values,
                     options[o].value[0] != '\0' ? options[o].value : "none");
            at = strstr(at, fact);
            ck_assert_msg(at != NULL, "%s: no (%s", options[o].name, fact);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("options");
    tcase_add_test(tests, defaults_without_a_word);
    tcase_add_test(tests, every_valid_value_is_taken);
    tcase_add_test(tests, on_and_off_have_other_names);
    tcase_add_test(tests, a_value_is_checked_without_being_set);
    tcase_add_test(tests, a_bad_value_costs_one_line_and_leaves_the_default);
    tcase_add_test(tests, each_text_is_kept_by_itself);
    tcase_add_test(tests, an_unknown_name_costs_one_line_with_the_nearest);
    tcase_add_test(tests, a_name_as_long_as_a_page_is_cut_off);
    tcase_add_test(tests, describe_lists_every_name_value_and_default);
    return suite_run("options", tests);
}
