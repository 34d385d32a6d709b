/* What pinning a little does to the rest of a process: limits, core files, locks on everything, addresses, attributes
 * of memory. Pins through the preload's library if that is there, else as stock does. Prints what the test compares. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct block {
    void *data;
    size_t bytes;
    uint64_t id;
};

static uint64_t manager;

static void *look(const char *symbol)
{
    return dlsym(RTLD_DEFAULT, symbol);
}

static void *pin(size_t bytes)
{
    uint64_t (*create)(void) = (uint64_t(*)(void))look("pintensor_manager_create");
    int (*alloc)(uint64_t, size_t, struct block *) = (int (*)(uint64_t, size_t, struct block *))look("pintensor_alloc");
    struct block b = {0};
    if (create != NULL) {
        manager = manager != 0 ? manager : create();
        return alloc(manager, bytes, &b) == 0 ? b.data : NULL;
    }
    return posix_memalign(&b.data, 4096, bytes) == 0 && mlock(b.data, bytes) == 0 ? b.data : NULL;
}

static void unpin(void *p)
{
    int (*give)(uint64_t, void *) = (int (*)(uint64_t, void *))look("pintensor_free");
    if (give != NULL) {
        (void)give(manager, p);
    } else {
        free(p);
    }
}

static unsigned long status(const char *key)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            sscanf(line + strlen(key) + 1, "%lu", &kib);
        }
    }
    fclose(f);
    return kib;
}

/* KiB that a core file holds, holes included: libraries and files apart. */
static unsigned long dumped(void)
{
    char line[512], flag[4];
    unsigned long size = 0, sum = 0;
    FILE *f = fopen("/proc/self/smaps", "r");
    int named = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) == 2) {
            named = strchr(line, '/') != NULL && strstr(line, "/dev/zero") == NULL;
        }
        (void)sscanf(line, "Size: %lu", &size);
        if (strncmp(line, "VmFlags:", 8) == 0 && !named) {
            int skipped = 0;
            for (char *at = line + 8; sscanf(at, "%3s", flag) == 1; at = strstr(at, flag) + 2) {
                skipped |= strcmp(flag, "dd") == 0;
            }
            sum += skipped ? 0 : size;
        }
    }
    fclose(f);
    return sum;
}

static void figures(void)
{
    printf("%lu %lu %lu %lu\n", status("VmLck"), status("VmRSS"), status("VmSize"), dumped());
}

/* From here on mmap() fails for requests of so many bytes at addresses of the kernel's choice. */
static void refuse_mapping(unsigned bytes)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bytes, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- attributes ---- */

static void add_word(char *words, const char *word)
{
    if (strstr(words, word) == NULL && strlen(words) + strlen(word) < 100) {
        strcat(strcat(words, " "), word);
    }
}

/* What is wrong with the kernel's record of [p, p + len), as memory fit for anybody; "" if nothing. */
static const char *oddities(const void *p, size_t len)
{
    static const char *const bad[] = {"dc", "wf", "mg", "rr", "sr", "nh"};
    static char odd[256];
    char line[512];
    uintptr_t from = 0, to = 0, start, end;
    unsigned key;
    FILE *f = fopen("/proc/self/smaps", "r");
    odd[0] = '\0';
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            from = start;
            to = end;
        }
        if (to <= (uintptr_t)p || from >= (uintptr_t)p + len) {
            continue;
        }
        if (sscanf(line, "ProtectionKey: %u", &key) == 1 && key != 0) {
            add_word(odd, "key");
        }
        if (strncmp(line, "VmFlags:", 8) == 0) {
            for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
                if (strstr(line, bad[i]) != NULL) {
                    add_word(odd, bad[i]);
                }
            }
            if (strstr(line, " rd ") == NULL || strstr(line, " wr ") == NULL) {
                add_word(odd, "unusable");
            }
            if (strstr(line, " lo ") == NULL && getenv("MEMORY_DRIVER") == NULL) {
                add_word(odd, "unlocked");
            }
        }
    }
    fclose(f);
    f = fopen("/proc/self/numa_maps", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%lx", &from) == 1 && from >= (uintptr_t)p && from < (uintptr_t)p + len &&
            strstr(line, " default ") == NULL) {
            add_word(odd, "bound");
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return odd;
}

static int dont_fork(void *p, size_t len)
{
    return madvise(p, len, MADV_DONTFORK);
}
static int wipe_on_fork(void *p, size_t len)
{
    return madvise(p, len, MADV_WIPEONFORK);
}
static int mergeable(void *p, size_t len)
{
    return madvise(p, len, MADV_MERGEABLE);
}
static int read_at_random(void *p, size_t len)
{
    return madvise(p, len, MADV_RANDOM);
}
static int no_huge_pages(void *p, size_t len)
{
    return madvise(p, len, MADV_NOHUGEPAGE);
}
static int read_only(void *p, size_t len)
{
    return mprotect(p, len, PROT_READ);
}
static int no_access(void *p, size_t len)
{
    return mprotect(p, len, PROT_NONE);
}
static int with_key(void *p, size_t len)
{
    return pkey_mprotect(p, len, PROT_READ | PROT_WRITE, pkey_alloc(0, 0));
}
static int unlock(void *p, size_t len)
{
    return munlock(p, len);
}
static int unlock_all(void *p, size_t len)
{
    (void)p;
    (void)len;
    return munlockall();
}
static int bind_to_node(void *p, size_t len)
{
    long (*mbind)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned) =
        (long (*)(void *, unsigned long, int, const unsigned long *, unsigned long, unsigned))look("mbind");
    unsigned long node = 1;
    return mbind != NULL ? (int)mbind(p, len, MPOL_BIND, &node, 64, 0) : -1;
}

static const struct {
    const char *name;
    int (*alter)(void *, size_t);
} ways[] = {
    {"DONTFORK", dont_fork},       {"WIPEONFORK", wipe_on_fork}, {"MERGEABLE", mergeable}, {"RANDOM", read_at_random},
    {"NOHUGEPAGE", no_huge_pages}, {"PROT_READ", read_only},     {"PROT_NONE", no_access}, {"pkey", with_key},
    {"munlock", unlock},           {"munlockall", unlock_all},   {"mbind", bind_to_node}};

enum { BLOCKS = 6 };

/* Blocks of so many bytes; some of the memory is altered; all end, one after another, and new ones have to be as good
 * as new. A large block that is left has to keep what was done to it: *lost. */
static const char *try(int (*alter)(void *, size_t), size_t bytes, size_t from, size_t len, int *lost)
{
    static char found[256];
    char *p[BLOCKS];
    found[0] = '\0';
    for (unsigned i = 0; i < BLOCKS; i++) {
        p[i] = pin(bytes);
        memset(p[i], 1, bytes);
    }
    char *lowest = p[0];
    for (unsigned i = 1; i < BLOCKS - 1; i++) {
        lowest = p[i] < lowest ? p[i] : lowest;
    }
    unpin(p[BLOCKS - 1]); /* so that something free lies there, too */
    char *at = (char *)((uintptr_t)(lowest + from) & ~(uintptr_t)4095);
    int refused = alter(at, len);
    char before[256];
    strcpy(before, oddities(at, 4096));
    for (unsigned i = 0; i < BLOCKS - 1; i++) {
        if (p[i] != lowest) {
            unpin(p[i]);
        }
    }
    *lost |= from < bytes && strcmp(oddities(at, 4096), before) != 0;
    unpin(lowest);
    for (unsigned i = 0; i < BLOCKS; i++) {
        p[i] = pin(bytes);
        const char *odd = oddities(p[i], bytes);
        if (odd[0] != '\0') {
            add_word(found, odd);
        } else {
            memset(p[i], 2, bytes);
        }
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        unpin(p[i]);
    }
    if (refused != 0) {
        add_word(found, "not here");
    }
    return found;
}

static void attributes(void)
{
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int lost = 0;
        printf("%s:", ways[i].name);
        printf("%s", try(ways[i].alter, 4 * MIB, 0, 4 * MIB, &lost));     /* a block */
        printf("%s", try(ways[i].alter, 4 * MIB, 64 << 10, 8192, &lost)); /* a part of one */
        printf("%s", try(ways[i].alter, MIB, 512 << 10, 5 * MIB, &lost)); /* parts of several, and what is free */
        printf("%s", try(ways[i].alter, 20 << 10, 0, 20 << 10, &lost));
        printf("%s", try(ways[i].alter, 8 << 10, 0, 8 << 10, &lost)); /* small ones */
        printf("%s", try(ways[i].alter, 1000, 0, 4096, &lost));       /* several in a page */
        printf("%s\n", lost ? " lost" : "");
    }
}

/* A driver that is in use, with a context. */
static void start_driver(const char *path)
{
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    void (*start)(int) = library != NULL ? (void (*)(int))dlsym(library, "fake_start") : NULL;
    if (start != NULL) {
        start(1);
    }
}

/* From here on a call fails, whatever for, in every thread; or the process is killed for it. */
static void refuse_call(unsigned number, unsigned answer)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* Bytes of a file are read or written, and stay in the kernel's cache. */
static void use_file(const char *path, size_t bytes)
{
    static char some[1 << 16];
    FILE *f = fopen(path, "w");
    for (size_t done = 0; f != NULL && done < bytes; done += sizeof some) {
        (void)!fwrite(some, 1, sizeof some, f);
    }
    if (f != NULL) {
        fflush(f);
        (void)fsync(fileno(f));
        fclose(f);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    start_driver(getenv("MEMORY_DRIVER"));
    if (strcmp(what, "refused") == 0) {
        refuse_mapping((unsigned)atoi(argv[2]));
        printf("%s\n", pin(MIB) != NULL ? "pinned" : "refused");
    } else if (strcmp(what, "attributes") == 0) {
        attributes();
        printf("%lu\n", status("VmLck"));
    } else if (strcmp(what, "opens nothing") == 0) {
        unpin(pin(MIB));
        refuse_call(SYS_openat, SECCOMP_RET_KILL_PROCESS);
        sleep(3); /* the idle thread looks around */
        printf("%d\n", pin(20 * MIB) != NULL);
    } else if (strcmp(what, "asks") == 0) { /* MIB FILE MIB */
        if (argc > 4) {
            use_file(argv[3], strtoull(argv[4], NULL, 0) * MIB);
        }
        void *p = pin(strtoull(argv[2], NULL, 0) * MIB);
        const char *(*why)(void) = (const char *(*)(void))look("pintensor_last_error");
        printf("%s\n", p != NULL ? "pinned" : why());
    } else if (strcmp(what, "cannot unlock") == 0) {
        void *p = pin(8 * MIB), *small = pin(1000);
        refuse_call(SYS_munlock, SECCOMP_RET_ERRNO | EPERM);
        unpin(p);
        unpin(small);
        size_t (*trim)(void) = (size_t(*)(void))look("pintensor_trim");
        (void)trim();
        printf("%lu\n", status("VmLck"));
        printf("%d\n", pin(8 * MIB) != NULL);
    } else if (strcmp(what, "locks all before") == 0) {
        printf("%d\n", mlockall(MCL_FUTURE));
        void *p = pin(MIB), *q = pin(1000), *r = pin(70 * MIB);
        unpin(r);
        r = pin(70 * MIB);
        printf("%d\n", p != NULL && q != NULL && r != NULL);
        figures();
    } else if (strcmp(what, "locks all after") == 0) {
        void *p = pin(MIB);
        printf("%d\n%d\n", p != NULL, mlockall(MCL_CURRENT | MCL_FUTURE));
        figures();
    } else if (strcmp(what, "limits addresses") == 0) {
        void *p = pin(MIB);
        struct rlimit limit = {1024 * MIB, 1024 * MIB};
        printf("%d %d\n", p != NULL, setrlimit(RLIMIT_AS, &limit));
        printf("%d %d\n", malloc(100 * MIB) != NULL, pin(100 * MIB) != NULL);
        figures();
    } else if (strcmp(what, "figures") == 0) {
        void *p = pin(MIB), *q = pin(1000);
        printf("%d\n", p != NULL && q != NULL);
        figures();
    }
    fflush(stdout);
    return 0;
}
