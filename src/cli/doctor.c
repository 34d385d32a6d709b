#include "cli/doctor.h"

#include <stdio.h>
#include <string.h>

static const struct row {
    const char *name;
    pt_doctor_check *check;
    const char *fix;
} rows[] = {
#define X(name, check, fix) {name, pt_doctor_##check, fix},
#include "cli/doctor.def"
#undef X
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static const char *const states[] = {"ok", "note", "STOPS"}, *const json_states[] = {"ok", "note", "stops"};

static struct result {
    enum pt_doctor_state state;
    char words[2048];
} results[ROWS];

/* Paths may hold anything: nothing that steers a terminal is printed. */
static void clean(char *s)
{
    for (; *s != '\0'; s++) {
        *s = (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s;
    }
}

/* How many bytes the character takes that begins here; 0: it is no UTF-8. */
static unsigned character(const unsigned char *s)
{
    unsigned len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] == 0xf0 ? 4 : 0;
    for (unsigned i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool too_long = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90),
         surrogate = s[0] == 0xed && s[1] >= 0xa0;
    return too_long || surrogate ? 0 : len;
}

/* Of a clean text. JSON is UTF-8, paths need not be. */
static void print_json_text(const char *s)
{
    putchar('"');
    for (unsigned len; *s != '\0'; s += len > 0 ? len : 1) {
        len = character((const unsigned char *)s);
        if (len == 0) {
            putchar('?');
        } else {
            printf("%s%.*s", *s == '"' || *s == '\\' ? "\\" : "", (int)len, s);
        }
    }
    putchar('"');
}

static void print_json(uint64_t most, const char *by, unsigned stops)
{
    printf("{\"version\": 1, \"well\": %s, \"lockable_bytes\": ", stops == 0 ? "true" : "false");
    printf(most == UINT64_MAX ? "null" : "%llu", (unsigned long long)most);
    fputs(", \"limited_by\": ", stdout);
    if (most == UINT64_MAX) {
        fputs("null", stdout);
    } else {
        print_json_text(by);
    }
    fputs(", \"checks\": [", stdout);
    for (unsigned i = 0; i < ROWS; i++) {
        printf("%s\n  {\"name\": \"%s\", \"state\": \"%s\", \"found\": ", i > 0 ? "," : "", rows[i].name,
               json_states[results[i].state]);
        print_json_text(results[i].words);
        fputs(", \"fix\": ", stdout);
        if (results[i].state == PT_DOCTOR_OK) {
            fputs("null", stdout);
        } else {
            print_json_text(rows[i].fix);
        }
        putchar('}');
    }
    puts("\n]}");
}

static void print_text(uint64_t most, const char *by, unsigned stops)
{
    char head[128];
    struct pt_text t;
    pt_text_init(&t, head, sizeof head, -1);
    if (most != UINT64_MAX) {
        pt_text_add(&t, "a process can mlock %B here (%s)", (size_t)most, by);
    } else {
        pt_text_add(&t, "nothing limits here what a process can mlock");
    }
    printf("pintensor: %s; ", head);
    if (stops == 0) {
        puts("nothing stands in the way");
    } else {
        printf("%u thing%s would stop a job\n", stops, stops == 1 ? "" : "s");
    }
    for (unsigned i = 0; i < ROWS; i++) {
        printf("  %-6s %-14s %s\n", states[results[i].state], rows[i].name, results[i].words);
        if (results[i].state != PT_DOCTOR_OK) {
            printf("  %-6s %-14s fix: %s\n", "", "", rows[i].fix);
        }
    }
}

int pt_doctor(bool json)
{
    uint64_t most = UINT64_MAX;
    const char *by = "";
    unsigned stops = 0;
    for (unsigned i = 0; i < ROWS; i++) {
        struct pt_doctor_finding f = {.most = UINT64_MAX};
        pt_text_init(&f.words, results[i].words, sizeof results[i].words, -1);
        results[i].state = rows[i].check(&f);
        clean(results[i].words);
        stops += results[i].state == PT_DOCTOR_STOPS;
        if (f.most < most) {
            most = f.most;
            by = rows[i].name;
        }
    }
    (json ? print_json : print_text)(most, by, stops);
    return fflush(stdout) != 0 || ferror(stdout) || stops > 0;
}
