/* The checks of `pintensor doctor` that look at the job's programs: Python and what it would import, the bridge, ops,
 * the driver. */
#include "cli/doctor.h"
#include "cli/op_file.h"
#include "elsewhere.h"
#include "folder.h"

#include <dlfcn.h>
#include <elf.h>
#include <glob.h>
#include <limits.h>
#include <sys/xattr.h>

static char words[8192];

static void file(const char *name, const void *bytes, size_t len)
{
    int fd = openat(AT_FDCWD, in(name), O_WRONLY | O_CREAT | O_TRUNC, 0755);
    REQUIRE(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    close(fd);
}

/* A home, and a PATH on which there is nothing but what a test puts into bin. */
static void begin(void)
{
    folder_begin();
    REQUIRE(mkdir(in("bin"), 0755) == 0 && mkdir(in("home"), 0755) == 0);
    clearenv();
    setenv("PATH", in("bin"), 1);
    setenv("HOME", in("home"), 1);
}

/* What stands in for Python says these lines. */
static void python_says(const char *lines)
{
    char text[2048];
    snprintf(text, sizeof text, "#!/bin/sh\nprintf '%%s' '%s'\n", lines);
    file("bin/python3", text, strlen(text));
}

/* Each look is by a process of its own, since what is found out about Python is kept. */
static enum pt_doctor_state look(pt_doctor_check *check)
{
    int ends[2], status;
    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct pt_doctor_finding f = {.most = UINT64_MAX};
        pt_text_init(&f.words, words, sizeof words, -1);
        int state = (int)check(&f);
        REQUIRE(write(ends[1], words, strlen(words)) == (ssize_t)strlen(words));
        exit(state);
    }
    close(ends[1]);
    ssize_t n, len = 0;
    while ((n = read(ends[0], words + len, sizeof words - 1 - (size_t)len)) > 0) {
        len += n;
    }
    words[len] = '\0';
    close(ends[0]);
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return (enum pt_doctor_state)WEXITSTATUS(status);
}

#define FINDS(check, state, text)                                                                                      \
    do {                                                                                                               \
        ck_assert_int_eq(look(pt_doctor_##check), PT_DOCTOR_##state);                                                  \
        ck_assert_msg(strstr(words, text) != NULL, "no '%s' in '%s'", text, words);                                    \
    } while (0)

/* ---- where this command lies, and who runs it ---- */

static const char *self; /* its path, as the kernel tells it; "": it does not */
static int user = -1, group = -1;
static bool has_capabilities;

ssize_t readlink(const char *path, char *out, size_t cap)
{
    if (self != NULL && strcmp(path, "/proc/self/exe") == 0) {
        size_t n = strlen(self);
        if (n == 0) {
            errno = EACCES;
            return -1;
        }
        n = n < cap ? n : cap;
        memcpy(out, self, n);
        return (ssize_t)n;
    }
    return syscall(SYS_readlink, path, out, cap);
}

uid_t getuid(void)
{
    return user >= 0 ? (uid_t)user : (uid_t)syscall(SYS_getuid);
}

gid_t getgid(void)
{
    return group >= 0 ? (gid_t)group : (gid_t)syscall(SYS_getgid);
}

ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
    (void)path;
    (void)value;
    (void)size;
    return has_capabilities && strcmp(name, "security.capability") == 0 ? 20 : -1;
}

START_TEST(the_library)
{
    begin();
    self = "";
    look(pt_doctor_library); /* wherever that leads */
    self = strdup(in("bin/pintensor"));
    file("bin/libpintensor_preload.so", "x", 1);
    FINDS(library, OK, in("bin/libpintensor_preload.so"));
    REQUIRE(mkdir(in("bin/.libs"), 0755) == 0 && mkdir(in("lib"), 0755) == 0);
    file("bin/.libs/libpintensor_preload.so", "x", 1);
    FINDS(library, OK, in("bin/.libs/libpintensor_preload.so"));
    file("lib/libpintensor_preload.so", "x", 1);
    FINDS(library, OK, in("lib/libpintensor_preload.so"));
    REQUIRE(mkdir(in("c"), 0755) == 0 && mkdir(in("c/a b"), 0755) == 0);
    file("c/a b/libpintensor_preload.so", "x", 1);
    self = strdup(in("c/a b/pintensor"));
    FINDS(library, STOPS, "/a b/libpintensor_preload.so, which LD_PRELOAD cannot name");
    folder_end();
}
END_TEST

START_TEST(rights)
{
    char lines[512];
    begin();
    FINDS(rights, OK, "those of the caller"); /* no Python */
    snprintf(lines, sizeof lines, "program=%s", in("job"));
    python_says(lines);
    FINDS(rights, OK, "those of the caller"); /* it is not there */
    file("job", "x", 1);
    FINDS(rights, OK, "those of the caller");
    user = (int)syscall(SYS_getuid) + 1;
    group = (int)syscall(SYS_getgid) + 1;
    has_capabilities = true;
    FINDS(rights, STOPS, "/job has rights that its caller has not");
    has_capabilities = false;
    FINDS(rights, OK, "those of the caller");
    REQUIRE(chmod(in("job"), 04755) == 0);
    FINDS(rights, STOPS, "/job has rights that its caller has not");
    user = -1; /* its own */
    FINDS(rights, OK, "those of the caller");
    REQUIRE(chmod(in("job"), 02755) == 0);
    FINDS(rights, STOPS, "/job has rights that its caller has not");
    group = -1;
    FINDS(rights, OK, "those of the caller");
    has_capabilities = true;
    user = 0; /* has them all anyhow */
    FINDS(rights, OK, "those of the caller");
    folder_end();
}
END_TEST

START_TEST(what_python_would_import)
{
    begin();
    FINDS(python, NOTE, "none on PATH");
    file("bin/python3", "#!/bin/sh\nexit 4\n", 17);
    FINDS(python, NOTE, "python3 could not be asked (status 4)");
    file("bin/python", "#!/bin/sh\necho program=/x/python\necho version=3.12.1\necho other=1\n", 65);
    FINDS(python, OK, "3.12.1, /x/python");
    FINDS(torch, OK, "this Python has none");
    FINDS(deepspeed, OK, "this Python has none");
    python_says("program=/x\ntorch=/t\ndeepspeed=/d\n");
    FINDS(torch, STOPS, "an unknown version in /t; served are 2.");
    FINDS(deepspeed, NOTE, "an unknown version in /d");
    python_says("program=/x\ntorch=/t\ntorch_version=2.13.0\ndeepspeed=/d\ndeepspeed_version=0.19.8\n");
    FINDS(torch, OK, "2.13.0 in /t");
    FINDS(deepspeed, OK, "0.19.8 in /d");
    folder_end();
}
END_TEST

/* ---- the bridge ---- */

#define SERVED "program=/x\ntorch=%s\ntorch_version=2.13.0\n"

static void has_torch(void)
{
    char lines[512];
    snprintf(lines, sizeof lines, SERVED, in("torch"));
    python_says(lines);
    self = strdup(in("bin/pintensor"));
    file("bin/libpintensor_preload.so", "x", 1);
}

START_TEST(a_compiler)
{
    static char deep[PATH_MAX + 32];
    begin();
    FINDS(bridge, OK, "none needed");
    has_torch();
    unsetenv("HOME"); /* nobody says where the cache is */
    FINDS(bridge, STOPS, "there is no C++ compiler");
    memset(deep, 'x', sizeof deep - 1);
    const char *const wrong[] = {"", " -O2", deep, "/nowhere/c++", "nowhere"};
    for (unsigned i = 0; i < 5; i++) {
        setenv("CXX", wrong[i], 1);
        FINDS(bridge, STOPS, "there is no C++ compiler");
    }
    file("bin/own", "x", 1);
    setenv("CXX", "own\t-O2", 1);
    FINDS(bridge, STOPS, "torch has no C++ headers");
    REQUIRE(mkdir(in("torch"), 0755) == 0 && mkdir(in("torch/include"), 0755) == 0 &&
            mkdir(in("torch/include/torch"), 0755) == 0 && mkdir(in("torch/include/torch/csrc"), 0755) == 0 &&
            mkdir(in("torch/include/torch/csrc/api"), 0755) == 0 &&
            mkdir(in("torch/include/torch/csrc/api/include"), 0755) == 0);
    FINDS(bridge, OK, "will be built at first use, by own\t-O2");
    char path[1024];
    snprintf(path, sizeof path, "/nowhere::%s", in("bin"));
    setenv("PATH", path, 1);
    FINDS(bridge, OK, "will be built at first use, by own\t-O2");
    folder_end();
}
END_TEST

START_TEST(one_that_is_there)
{
    begin();
    has_torch();
    REQUIRE(mkdir(in("home/.cache"), 0755) == 0 && mkdir(in("home/.cache/pintensor"), 0755) == 0);
    file("home/.cache/pintensor/bridge-2.13.0-1f.log", "x", 1);
    FINDS(bridge, STOPS, "building it failed before: see ");
    setenv("XDG_CACHE_HOME", "relative", 1); /* as if it were not set */
    FINDS(bridge, STOPS, "building it failed before: see ");
    file("home/.cache/pintensor/bridge-2.13.0-1f.so", "x", 1);
    FINDS(bridge, OK, "built before: ");
    FINDS(cache, OK, in("home/.cache/pintensor"));
    REQUIRE(mkdir(in("bin/pintensor"), 0755) == 0);
    file("bin/pintensor/bridge-torch-2.13-1f.so", "x", 1);
    self = strdup(in("bin/command"));
    FINDS(bridge, OK, "ready made: ");
    FINDS(cache, OK, "none needed");
    folder_end();
}
END_TEST

START_TEST(the_cache)
{
    begin();
    FINDS(cache, OK, "none needed");
    has_torch();
    FINDS(cache, OK, in("home/.cache/pintensor")); /* it can be made */
    setenv("HOME", "home", 1);
    FINDS(cache, STOPS, "neither XDG_CACHE_HOME nor HOME says where");
    unsetenv("HOME");
    FINDS(cache, STOPS, "neither XDG_CACHE_HOME nor HOME says where");
    file("plain", "x", 1);
    setenv("XDG_CACHE_HOME", in("plain"), 1);
    FINDS(cache, STOPS, "/plain/pintensor cannot be written to");
    setenv("XDG_CACHE_HOME", in("cache"), 1);
    REQUIRE(mkdir(in("cache"), 0777) == 0 && mkdir(in("cache/pintensor"), 0755) == 0);
    FINDS(cache, OK, in("cache/pintensor"));
    static const unsigned modes[] = {0775, 0757};
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(chmod(in("cache/pintensor"), modes[i]) == 0);
        FINDS(cache, STOPS, " may be written to by others");
    }
    if (syscall(SYS_getuid) == 0) {
        REQUIRE(chown(in("cache/pintensor"), 65534, 65534) == 0);
        FINDS(cache, STOPS, " is another user's");
    }
    folder_end();
}
END_TEST

/* ---- shared objects ---- */

#define ALLOC "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE"

static struct object {
    Elf64_Ehdr header;
    Elf64_Phdr part;
    Elf64_Shdr section[4]; /* none, names, symbols, what is bound */
    Elf64_Sym symbol[3];
    Elf64_Rela bound[2];
    char names[128];
    char interpreter[32];
} object;

static void make_object(void)
{
    memset(&object, 0, sizeof object);
    memcpy(object.header.e_ident, ELFMAG, SELFMAG);
    object.header.e_ident[EI_CLASS] = ELFCLASS64;
    object.header.e_phoff = offsetof(struct object, part);
    object.header.e_phentsize = sizeof(Elf64_Phdr);
    object.header.e_phnum = 1;
    object.header.e_shoff = offsetof(struct object, section);
    object.header.e_shentsize = sizeof(Elf64_Shdr);
    object.header.e_shnum = 4;
    object.part = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = offsetof(struct object, interpreter), .p_filesz = 32};
    strcpy(object.interpreter, "/lib64/ld-linux-x86-64.so.2");
    object.section[1] =
        (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_offset = offsetof(struct object, names), .sh_size = 128};
    object.section[2] = (Elf64_Shdr){.sh_type = SHT_DYNSYM,
                                     .sh_link = 1,
                                     .sh_offset = offsetof(struct object, symbol),
                                     .sh_size = sizeof object.symbol};
    object.section[3] =
        (Elf64_Shdr){.sh_type = SHT_RELA, .sh_offset = offsetof(struct object, bound), .sh_size = sizeof object.bound};
    strcpy(object.names + 1, "other");
    strcpy(object.names + 7, ALLOC);
    object.symbol[1] = (Elf64_Sym){.st_name = 1, .st_shndx = 1};
    object.symbol[2] = (Elf64_Sym){.st_name = 7, .st_shndx = 1};
    object.bound[0].r_info = ELF64_R_INFO((uint64_t)1, 7);
    object.bound[1].r_info = ELF64_R_INFO((uint64_t)2, 7);
}

static enum pt_op op(void)
{
    file("x.so", &object, sizeof object);
    return pt_op_file(in("x.so"));
}

#define OP(change, wanted)                                                                                             \
    do {                                                                                                               \
        make_object();                                                                                                 \
        change;                                                                                                        \
        ck_assert_int_eq(op(), PT_OP_##wanted);                                                                        \
    } while (0)

START_TEST(ops_as_files)
{
    begin();
    OP(, REACHED);
    OP(object.bound[1].r_info = 0, UNREACHABLE);
    OP(object.section[3].sh_type = SHT_NOBITS, UNREACHABLE);
    OP(object.section[3].sh_offset = sizeof object + 8, UNREACHABLE);
    OP(object.section[3].sh_offset++, UNREACHABLE);
    OP(object.section[3].sh_size *= 100, UNREACHABLE);
    OP(object.symbol[2].st_shndx = SHN_UNDEF, NONE); /* it uses the manager, and has none */
    OP(object.names[8] = 'x', NONE);
    OP(object.symbol[2].st_name = 1000000, NONE);
    OP(object.section[1].sh_offset = UINT64_MAX - 3, NONE); /* past the end of all numbers */
    OP(object.section[2].sh_link = 4, NONE);
    OP(object.section[2].sh_type = SHT_SYMTAB, NONE);
    OP(object.section[2].sh_offset = 1, NONE);
    OP(object.section[2].sh_size = 0, NONE);
    OP(object.header.e_shentsize = 8, NONE);
    OP(object.header.e_shnum = 0, NONE);
    OP(object.header.e_shoff = sizeof object, NONE);
    OP(object.header.e_ident[EI_CLASS] = ELFCLASS32, NONE);
    OP(object.header.e_ident[0] = 'x', NONE);
    ck_assert_int_eq(pt_op_file(in("nowhere")), PT_OP_NONE);
    ck_assert_int_eq(pt_op_file(folder), PT_OP_NONE);
    file("x.so", &object, 20);
    ck_assert_int_eq(pt_op_file(in("x.so")), PT_OP_NONE);
    REQUIRE(truncate(in("x.so"), (off_t)1 << 30) == 0); /* more than is read */
    ck_assert_int_eq(pt_op_file(in("x.so")), PT_OP_NONE);
    folder_end();
}
END_TEST

#define INTERPRETER(change, found, wanted)                                                                             \
    do {                                                                                                               \
        char text[16] = "";                                                                                            \
        make_object();                                                                                                 \
        change;                                                                                                        \
        file("program", &object, sizeof object);                                                                       \
        ck_assert_int_eq(pt_op_file_interpreter(in("program"), text, sizeof text), found);                             \
        ck_assert_str_eq(text, wanted);                                                                                \
    } while (0)

START_TEST(programs)
{
    begin();
    INTERPRETER(, true, "/lib64/ld-linux"); /* as far as there is room */
    INTERPRETER(object.part.p_filesz = 6, true, "/lib64");
    INTERPRETER(object.part.p_type = PT_LOAD, false, "");
    INTERPRETER(object.part.p_offset = sizeof object, false, "");
    INTERPRETER(object.part.p_filesz = 33, false, "");
    INTERPRETER(object.header.e_phentsize = 8, false, "");
    INTERPRETER(object.header.e_phnum = 0, false, "");
    INTERPRETER(object.header.e_phoff = sizeof object, false, "");
    INTERPRETER(object.header.e_ident[1] = 'x', false, "");
    char text[16] = "", lines[512];
    ck_assert(!pt_op_file_interpreter(in("nowhere"), text, sizeof text));
    FINDS(libc, OK, "glibc ");
    snprintf(lines, sizeof lines, "program=%s", in("program"));
    python_says(lines);
    FINDS(libc, STOPS, "/program is linked statically, or no program of 64 bits");
    make_object();
    file("program", &object, sizeof object);
    FINDS(libc, OK, "and Python is started by /lib64/ld-linux-x86-64.so.2");
    strcpy(object.interpreter, "/lib/ld-musl-x86_64.so.1");
    file("program", &object, sizeof object);
    FINDS(libc, STOPS, "/program runs with musl");
    folder_end();
}
END_TEST

START_TEST(ops_in_folders)
{
    char lines[512];
    begin();
    FINDS(ops, OK, in("home/.cache/torch_extensions"));
    unsetenv("HOME");
    FINDS(ops, OK, "none built yet in /.cache/torch_extensions");
    setenv("TORCH_EXTENSIONS_DIR", "", 1);
    setenv("XDG_CACHE_HOME", "", 1);
    FINDS(ops, OK, "none built yet in /.cache/torch_extensions");
    setenv("XDG_CACHE_HOME", folder, 1);
    FINDS(ops, OK, in("torch_extensions"));
    REQUIRE(mkdir(in("torch_extensions"), 0755) == 0 && mkdir(in("torch_extensions/folder.so"), 0755) == 0);
    make_object();
    file("torch_extensions/a.so", &object, sizeof object);
    file("torch_extensions/no_ending", &object, sizeof object);
    file("torch_extensions/a.so.old", &object, sizeof object);
    file("torch_extensions/text.so", "words", 5);
    REQUIRE(symlink("a.so", in("torch_extensions/link.so")) == 0 && mkfifo(in("torch_extensions/fifo.so"), 0600) == 0);
    FINDS(ops, OK, "1 with pinned tensors, all of which can be reached");
    object.bound[1].r_info = 0;
    file("torch_extensions/b.so", &object, sizeof object);
    FINDS(ops, STOPS, "1 linked with -Bsymbolic-functions, which no preload reaches: ");
    ck_assert_ptr_null(strstr(words, " and others"));
    REQUIRE(mkdir(in("ops"), 0755) == 0);
    file("ops/c.so", &object, sizeof object);
    snprintf(lines, sizeof lines, "program=/x\ndeepspeed=%s\n", folder);
    python_says(lines);
    FINDS(ops, STOPS, "2 linked with -Bsymbolic-functions, which no preload reaches: ");
    ck_assert_ptr_nonnull(strstr(words, "/torch_extensions/b.so and others"));
    folder_end();
}
END_TEST

/* ---- the GPU ---- */

static const char *devices[8]; /* that there are */
static bool on_windows;

int glob(const char *pattern, int flags, int (*error)(const char *, int), glob_t *out)
{
    if (strncmp(pattern, "/dev/nvidia", 11) != 0) {
        static int (*real)(const char *, int, int (*)(const char *, int), glob_t *);
        *(void **)&real = dlsym(RTLD_NEXT, "glob");
        return real(pattern, flags, error, out);
    }
    bool gpus = strchr(pattern, '*') != NULL;
    *out = (glob_t){.gl_pathv = calloc(9, sizeof(char *))};
    for (unsigned i = 0; devices[i] != NULL; i++) {
        bool is_gpu = devices[i][11] >= '0' && devices[i][11] <= '9';
        if (gpus ? is_gpu : strcmp(devices[i], pattern) == 0) {
            out->gl_pathv[out->gl_pathc++] = strdup(devices[i]);
        }
    }
    return out->gl_pathc > 0 ? 0 : GLOB_NOMATCH;
}

int access(const char *path, int mode)
{
    if (strcmp(path, "/dev/dxg") == 0) {
        return on_windows ? 0 : -1;
    }
    return (int)syscall(SYS_access, path, mode);
}

static void has(const char *const *names, unsigned count)
{
    memset(devices, 0, sizeof devices);
    for (unsigned i = 0; i < count; i++) {
        devices[i] = names[i];
        elsewhere(names[i], "");
    }
}

static bool locks_by_gpu(void)
{
    return look(pt_doctor_cuda) == PT_DOCTOR_OK && strstr(words, "GPU") != NULL && strstr(words, "no GPU") == NULL;
}

START_TEST(without_a_driver)
{
    static const char *const all[] = {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia1"};
    begin();
    if (dlopen("libcuda.so.1", RTLD_LAZY) != NULL) {
        return; /* this machine has one */
    }
    has(all, 0);
    FINDS(cuda, OK, "no GPU: pinned memory is mlocked");
    has(all, 3);
    FINDS(cuda, STOPS, "libcuda.so.1 cannot be loaded, with 1 GPU");
    ck_assert_str_eq(words + strlen(words) - 5, "1 GPU");
    has(all, 4);
    FINDS(cuda, STOPS, "libcuda.so.1 cannot be loaded, with 2 GPUs");
    on_windows = true;
    FINDS(cuda, NOTE, "WSL2, where torch's own pinned memory serves");
    folder_end();
}
END_TEST

START_TEST(with_a_driver)
{
    static const char *const all[] = {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia1"};
    char library[PATH_MAX];
    snprintf(library, sizeof library, "%s/tests/libcuda.so.1",
             getenv("top_builddir") != NULL ? getenv("top_builddir") : ".");
    begin();
    REQUIRE(dlopen(library, RTLD_NOW) != NULL);
    has(all, 4);
    FINDS(cuda, OK, "/tests/libcuda.so.1, for CUDA ");
    ck_assert_ptr_nonnull(strstr(words, "; 2 GPUs"));
    ck_assert(locks_by_gpu());
    elsewhere("/dev/nvidia1", NULL); /* which is another job's */
    FINDS(cuda, OK, "; 1 GPU");
    elsewhere("/dev/nvidia0", NULL);
    FINDS(cuda, STOPS, "/dev/nvidia1 (No such file or directory) cannot be opened");
    has(all + 1, 2);
    FINDS(cuda, NOTE, "; 0 GPUs");
    has(all, 3);
    elsewhere("/dev/nvidia-uvm", NULL);
    FINDS(cuda, STOPS, "/dev/nvidia-uvm (No such file or directory) cannot be opened");
    elsewhere("/dev/nvidia-uvm", "");
    on_windows = true;
    FINDS(cuda, NOTE, "; WSL2, where");
    folder_end();
}
END_TEST

/* With a GPU what may not be mlocked is registered all the same; but only where it can be used. */
START_TEST(limits_beside_a_gpu)
{
    static const char *const all[] = {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"};
    char library[PATH_MAX];
    snprintf(library, sizeof library, "%s/tests/libcuda.so.1",
             getenv("top_builddir") != NULL ? getenv("top_builddir") : ".");
    begin();
    elsewhere("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
    limit_memlock(65536, 65536);
    limited_to(RLIMIT_MEMLOCK, 65536, 65536);
    if (dlopen("libcuda.so.1", RTLD_LAZY) == NULL) {
        has(all, 3);
        FINDS(memlock, STOPS, "there is no CAP_IPC_LOCK"); /* without its driver it is none */
    }
    REQUIRE(dlopen(library, RTLD_NOW) != NULL);
    has(all, 0);
    FINDS(memlock, STOPS, "there is no CAP_IPC_LOCK");
    FINDS(lock, STOPS, "failed: ");
    has(all, 3);
    FINDS(memlock, NOTE, "what is registered with the GPU does not count");
    FINDS(lock, NOTE, "failed: ");
    elsewhere("/dev/nvidiactl", NULL);
    FINDS(memlock, STOPS, "there is no CAP_IPC_LOCK");
    folder_end();
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("doctor_job");
    tcase_add_test(tests, the_library);
    tcase_add_test(tests, rights);
    tcase_add_test(tests, what_python_would_import);
    tcase_add_test(tests, a_compiler);
    tcase_add_test(tests, one_that_is_there);
    tcase_add_test(tests, the_cache);
    tcase_add_test(tests, ops_as_files);
    tcase_add_test(tests, programs);
    tcase_add_test(tests, ops_in_folders);
    tcase_add_test(tests, without_a_driver);
    tcase_add_test(tests, with_a_driver);
    tcase_add_test(tests, limits_beside_a_gpu);
    return suite_run("doctor_job", tests);
}
