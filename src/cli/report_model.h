/* What all tables say together, in the command's own memory: each process, and each site once, however many processes
 * have it. Sites of different processes and runs that read alike have the same id. */
#ifndef PT_CLI_REPORT_MODEL_H
#define PT_CLI_REPORT_MODEL_H

#include "cli/tables.h"

struct pt_model_sum {
    uint64_t blocks, bytes, locked;
};

/* As the report's words have it. */
struct pt_model_words {
    struct pt_model_sum growing, reclaimed, held, peak;
};

/* What one process has of a site. */
struct pt_model_share {
    uint32_t process, next; /* the site's next share; 0: none */
    int8_t dtype;
    uint8_t door;
    uint32_t thread;
    uint64_t smallest, largest, allocated, freed, rises, step;
    uint64_t first_ns, last_ns; /* since the process's first block */
    struct pt_model_words words;
    struct pt_held_by *held_by; /* who still held them */
    uint32_t held_bys;
};

struct pt_model_frame {
    char *file, *function;
    uint32_t line; /* 0: native */
    bool own;      /* the user's own code, not a library's */
};

struct pt_model_site {
    uint64_t id;
    char *symbol, *object; /* nearest native symbol, and the object it lies in; may be empty */
    unsigned frames;
    int top;                      /* the frame to show first, or -1 */
    struct pt_model_frame *frame; /* innermost first */
    uint32_t first, last;         /* shares */
    struct pt_model_words sum;    /* over all processes */
};

/* What others pinned, served without us. */
struct pt_model_others {
    uint64_t pinned, missed, live, live_bytes, peak, peak_bytes, peak_ours;
};

struct pt_model_others_line {
    uint32_t process, call; /* of enum pt_foreign_call */
    uint64_t site;          /* its id; 0: unknown */
    uint64_t pinned, live, live_bytes, peak, peak_bytes;
};

struct pt_model_process {
    char *path, *host, *program;
    int pid, rank; /* -1: none */
    enum pt_tables_state state;
    bool cut_short;
    uint64_t run_ns;
    uint64_t peak_asked, peak_locked, peak_stock, peak_pow2; /* when most was asked for */
    uint64_t allocated, reused, pageable;
    struct pt_model_words sum;
    struct pt_model_others others;
    struct pt_history history;
};

struct pt_model_misuse {
    uint32_t process, kind, times;
    uint64_t site, alloc_site, release_site; /* ids; 0: unknown */
};

struct pt_model {
    struct pt_model_process *process;
    struct pt_model_site *site;
    struct pt_model_share *share; /* number 0 is none */
    struct pt_model_misuse *misuse;
    struct pt_model_others_line *others;
    uint32_t processes, sites, shares, misuses, others_lines;
    uint32_t *slot, slots; /* sites by id, plus 1 */
};

/* Takes over what the loaded table says. Ends the command if memory runs out. */
void pt_model_add(struct pt_model *m, const struct pt_tables_one *one);

/* Sites that lost memory first, then those that had most. `*m` cannot be added to any more. */
void pt_model_sort(struct pt_model *m);

/* The site of that id, or NULL. Not after pt_model_sort(). */
const struct pt_model_site *pt_model_find(const struct pt_model *m, uint64_t id);

/* PT_FAIL_* bits of the words that something is said under. */
unsigned pt_model_found(const struct pt_model_words *w);
unsigned pt_model_found_all(const struct pt_model *m);

/* A site in one phrase: "train.py:41  collect  from train.py:77  <module>". */
void pt_model_place(const struct pt_model_site *s, struct pt_text *out);

/* Room for one more after `count` things of `size` bytes: in blocks that double. Ends the command if there is none. */
void *pt_model_grow(void *list, uint32_t count, size_t size);

#endif
