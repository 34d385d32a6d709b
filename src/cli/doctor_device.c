/* The GPU's driver: its library, its device files. Nothing is initialised. */
#include "cli/doctor.h"

#include "base/libraries.h"
#include "cli/tries.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_S = 30 };

static struct {
    bool known;
    char library[512]; /* empty: there is none */
    int version;       /* of CUDA: 12040 */
    unsigned devices;  /* GPUs that this user may open: of others a job need not know */
    char closed[300];  /* a file that it may not, and all need or there is no other */
    bool windows;
} seen;

/* Loading somebody's library is nothing for our own process. Its symbols are found without dlsym(), which older libcs
 * have by another version. */
static int load_driver(int out)
{
    char line[600];
    struct pt_library driver;
    int version = 0;
    if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) == NULL ||
        pt_libraries_named("libcuda.so.1", NULL, &driver) != 0) {
        return 1;
    }
    int (*ask)(int *);
    *(void **)&ask = pt_elf_symbol(&driver.elf, "cuDriverGetVersion");
    if (ask != NULL) {
        (void)ask(&version);
    }
    int n = snprintf(line, sizeof line, "%d %s", version, driver.path);
    return n < 0 || write(out, line, strlen(line)) < 0;
}

static void look(void)
{
    static const char *const patterns[] = {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia[0-9]*"};
    enum { GPUS = 2 };
    char said[600], other[sizeof seen.closed] = "";
    glob_t files;
    if (seen.known) {
        return;
    }
    seen.known = true;
    seen.windows = access("/dev/dxg", F_OK) == 0;
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        if (glob(patterns[p], 0, NULL, &files) != 0) {
            continue;
        }
        for (size_t i = 0; i < files.gl_pathc; i++) {
            int fd = open(files.gl_pathv[i], O_RDWR | O_CLOEXEC);
            if (fd < 0) {
                char *closed = p == GPUS ? other : seen.closed;
                (void)snprintf(closed, sizeof other, "%s (%s)", files.gl_pathv[i], strerror(errno));
                continue;
            }
            close(fd);
            seen.devices += p == GPUS;
        }
        globfree(&files);
    }
    if (seen.devices == 0 && other[0] != '\0') {
        memcpy(seen.closed, other, sizeof other);
    }
    int end = 0;
    if (pt_try_call(load_driver, PATIENCE_S, said, sizeof said) == 0 &&
        sscanf(said, "%d %n", &seen.version, &end) == 1) {
        (void)snprintf(seen.library, sizeof seen.library, "%s", said + end);
    }
}

bool pt_doctor_has_gpu(void)
{
    look();
    return seen.library[0] != '\0' && seen.devices > 0 && seen.closed[0] == '\0';
}

enum pt_doctor_state pt_doctor_cuda(struct pt_doctor_finding *f)
{
    look();
    bool library = seen.library[0] != '\0';
    if (library) {
        pt_text_add(&f->words, "%s, for CUDA %d.%d; ", seen.library, seen.version / 1000, seen.version % 1000 / 10);
    }
    if (seen.closed[0] != '\0') {
        pt_text_add(&f->words, "%s cannot be opened", seen.closed);
        return PT_DOCTOR_STOPS;
    }
    if (seen.windows) {
        pt_text_add(&f->words, "WSL2, where torch's own pinned memory serves and DeepSpeed's is mlocked");
        return PT_DOCTOR_NOTE;
    }
    if (!library && seen.devices == 0) {
        pt_text_add(&f->words, "no GPU: pinned memory is mlocked");
        return PT_DOCTOR_OK;
    }
    pt_text_add(&f->words, "%s%u GPU%s", library ? "" : "libcuda.so.1 cannot be loaded, with ", seen.devices,
                seen.devices == 1 ? "" : "s");
    return !library ? PT_DOCTOR_STOPS : seen.devices == 0 ? PT_DOCTOR_NOTE : PT_DOCTOR_OK;
}
