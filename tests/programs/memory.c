/* What pinning a little does to the rest of a process: limits, core files, locks on everything, addresses, attributes
 * of memory. Pins through the preload's library if that is there, else as stock does. Prints what the test compares. */
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

/* From here on mmap() fails for requests of so many bytes that reserve nothing, at addresses of the kernel's choice. */
static void refuse_mapping(unsigned bytes)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, bytes, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_NORESERVE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
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

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    start_driver(getenv("MEMORY_DRIVER"));
    if (strcmp(what, "refused") == 0) {
        refuse_mapping((unsigned)atoi(argv[2]));
        printf("%s\n", pin(MIB) != NULL ? "pinned" : "refused");
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
