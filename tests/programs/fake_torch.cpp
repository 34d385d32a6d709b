// A program of torch's with a stand-in for its CUDA library: fake_torch LIBRARY WAY, and LIBRARY is - for a build
// without CUDA. Ways:
//   facts    what the interface asks
//   before   memory that was locked before CUDA came
//   one      tells who served one block
//   ignore   the same with SIGCHLD ignored
//   loading  tells who served a block that a thread asked for while a library was loaded that waits for it, and who one
//            afterwards; PLUGIN, behind WAY, is linker.c with -DPLUGIN
//   threads  the same after eight threads were the first to ask, at once
//   registry who answers, and what torch's registry says
//   refused  tells who served two blocks of 64 MiB, and how many KiB are locked, and shared, then
//   keep     the same, drops another block, and ends holding the first
#include "pintensor.h"

#include <ATen/core/CachingHostAllocator.h>
#include <torch/version.h>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace
{

int (*fake_asked)(const char *what);
bool (*managed)(const void *, size_t);

at::HostAllocator *host()
{
    return at::getHostAllocator(at::DeviceType::CUDA);
}

bool ours(const at::DataPtr &p)
{
    return managed != nullptr && managed(p.get(), 1);
}

void holds(const char *name, bool fact)
{
    std::printf("%s - %s\n", fact ? "ok" : "not ok", name);
}

c10::CachingAllocator::Stat stat(const char *what)
{
    at::HostStats stats = host()->get_stats();
#if TORCH_VERSION_MINOR >= 10
    return what[0] == 'r'   ? stats.active_requests
           : what[0] == 'b' ? stats.active_bytes
           : what[0] == 's' ? stats.allocations
                            : stats.allocated_bytes;
#else
    return what[0] == 'r'   ? stats.allocation
           : what[0] == 'b' ? stats.allocated_bytes
           : what[0] == 's' ? stats.segment
                            : stats.reserved_bytes;
#endif
}

int status_of(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

void figures()
{
    at::DataPtr a = host()->allocate(3 << 20), b = host()->allocate(1 << 20);
    holds("figures: two blocks of 4 MiB", stat("requests").current == 2 && stat("bytes").current == 4 << 20);
    holds("figures: all that is locked", stat("held").current >= 4 << 20 && stat("held").peak >= stat("held").current);
    holds("figures: locked for them", stat("segments").current >= 2 && host()->get_stats().num_host_alloc >= 2);
    holds("figures: the time it took", host()->get_stats().host_alloc_time.count >= 2);
    int64_t locks = stat("segments").allocated;
    b.clear();
    b = host()->allocate(1 << 20);
    holds("figures: reuse locks nothing", stat("segments").allocated == locks && stat("requests").allocated >= 3);
    host()->reset_accumulated_stats();
    holds("figures: accumulated, reset", stat("requests").allocated == 0 && stat("requests").current == 2);
    a.clear();
    holds("figures: the peak stays", stat("bytes").current == 1 << 20 && stat("bytes").peak >= 4 << 20);
    host()->reset_peak_stats();
    holds("figures: and is reset", stat("bytes").peak == 1 << 20 && stat("bytes").freed == 3 << 20);
    int64_t held = stat("held").current, freed = stat("segments").freed;
    host()->reset_accumulated_stats();
    host()->empty_cache();
    int64_t times = host()->get_stats().host_free_time.count;
    holds("figures: what went back was timed, each", times >= 1 && times == stat("segments").freed && freed == 0);
    host()->empty_cache();
    holds("figures: nothing went, nothing was timed", host()->get_stats().host_free_time.count == times);
    holds("figures: an empty cache holds less", stat("held").current <= held - (2 << 20));
    holds("figures: what is locked came and went",
          stat("held").current >= 1 << 20 && stat("segments").current >= 1 && stat("segments").freed >= 1);
}

void facts()
{
    at::HostAllocator *before = host(); // takes over
    c10::Stream stream(c10::Stream::UNSAFE, c10::Device(at::DeviceType::CUDA, 0), 0);
    int asked = fake_asked("allocated");
    {
        at::DataPtr a = before->allocate(1 << 20), b = before->allocate(1 << 20);
        holds("its blocks are ours", ours(a) && ours(b));
        holds("the first one made torch set CUDA up", fake_asked("allocated") == asked + 1);
        holds("they lie on the CPU", a.device() == at::DeviceType::CPU);
        char *p = static_cast<char *>(a.get());
        holds("a stream may use one", before->record_event(p, p, stream));
        holds("or a part of one", before->record_event(p + 4242, p, stream) && fake_asked("recorded") == 0);
        int mine;
        holds("what is not ours is asked of torch's",
              !before->record_event(&mine, nullptr, stream) && fake_asked("recorded") == 1);
        p = static_cast<char *>(b.get());
        b.clear();
        holds("a dropped one is not managed any more", !managed(p, 1));
        b = before->allocate(1 << 20);
        holds("and is used again", b.get() == p);
#if TORCH_VERSION_MINOR >= 14
        holds("torch's history has them", fake_asked("noted") == 2);
#endif
        pid_t child = fork();
        if (child == 0) {
            a.clear();
            _exit(ours(b) && ours(host()->allocate(1 << 20)) ? 0 : 1);
        }
        holds("a child drops its copy and pins its own", status_of(child) == 0 && ours(a));
        std::thread other([&] { a.clear(); });
        other.join();
    }
    holds("all is counted back", stat("requests").current == 0 && stat("bytes").current == 0);
    asked = fake_asked("allocated");
    (void)host()->allocate(0);
    holds("nothing of no bytes is torch's affair", fake_asked("allocated") == asked + 1);
    host()->empty_cache();
    holds("both caches are emptied", fake_asked("emptied") == 1);
    try {
        (void)host()->allocate((size_t)1 << 50);
        holds("too much is an error", false);
    } catch (const c10::Error &error) {
        holds("too much is an error", std::string(error.what()).find("pintensor: ") == 0);
    }
#if TORCH_VERSION_MINOR >= 11
    host()->begin_allocate_to_pool({1, 0}, [](c10::Stream) { return true; });
    holds("a private pool is torch's", !ours(host()->allocate(100)));
    host()->end_allocate_to_pool({1, 0});
    holds("until it ends", ours(host()->allocate(100)));
    host()->begin_allocate_to_pool({2, 0}, [](c10::Stream) { return false; });
    holds("what is not for it is ours", ours(host()->allocate(100)));
    host()->end_allocate_to_pool({2, 0});
    host()->release_pool({1, 0});
    holds("torch's hears of all that", fake_asked("pools") == 5);
#endif
    figures();
}

// Locked, and free again.
void lock_and_free(size_t bytes)
{
    auto create =
        reinterpret_cast<decltype(&pintensor_manager_create)>(dlsym(RTLD_DEFAULT, "pintensor_manager_create"));
    auto alloc = reinterpret_cast<decltype(&pintensor_alloc)>(dlsym(RTLD_DEFAULT, "pintensor_alloc"));
    auto give_back = reinterpret_cast<decltype(&pintensor_free)>(dlsym(RTLD_DEFAULT, "pintensor_free"));
    pintensor_manager manager = create();
    pintensor_block block;
    holds("something is locked", alloc(manager, bytes, &block) == 0 && give_back(manager, block.data) == 0);
}

void before(void *cuda)
{
    auto within = reinterpret_cast<int (*)(const void *, size_t)>(dlsym(cuda, "fake_within"));
    at::DataPtr large = host()->allocate(1 << 20), small = host()->allocate(100), next = host()->allocate(2 << 20);
    holds("what is used again is registered", ours(large) && within(large.get(), 1 << 20));
    holds("what cannot be is not ours", ours(small) == (within(small.get(), 100) != 0));
    holds("what is new is registered", ours(next) && within(next.get(), 2 << 20));
}

long kib_of(const char *what)
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.rfind(what, 0) == 0) {
            return std::atol(line.c_str() + std::string(what).size());
        }
    }
    return -1;
}

void refused()
{
    at::DataPtr a = host()->allocate(64 << 20), b = host()->allocate(64 << 20);
    std::printf("%s %s %ld %ld\n", ours(a) ? "ours" : "torch's", ours(b) ? "ours" : "torch's", kib_of("VmLck:"),
                kib_of("RssShmem:"));
}

// PINTENSOR_LIMIT, after a block that the driver had no room for: that one is torch's to try.
void limited()
{
    std::vector<at::DataPtr> kept;
    for (int i = 0; i < 6; i++) {
        kept.push_back(host()->allocate(1 << 20));
    }
    at::DataPtr large = host()->allocate(5 << 20);
    std::printf("%s %s\n", ours(kept[5]) ? "ours" : "torch's", ours(large) ? "ours" : "torch's");
    try {
        kept.push_back(host()->allocate(7 << 20));
        std::printf("%s\n", ours(kept[6]) ? "ours" : "torch's");
    } catch (const c10::Error &e) {
        std::printf("%s\n", e.what_without_backtrace());
    }
}

// torch's registry stays as it is, so that nobody who reads it meets somebody who writes; and what the program puts
// there itself is the answer.
void registry(void *cuda)
{
    void *cpu = dlopen("libtorch_cpu.so", RTLD_NOLOAD | RTLD_LAZY);
    auto torchs = reinterpret_cast<at::HostAllocator *(*)(at::DeviceType)>(
        dlsym(cpu, "_ZN2at16getHostAllocatorEN3c1010DeviceTypeE"));
    at::HostAllocator *before = torchs(at::DeviceType::CUDA);
    at::DataPtr block = host()->allocate(100);
    holds("ours is the answer", ours(block) && host() != before);
    holds("torch's registry is not written", torchs(at::DeviceType::CUDA) == before);
    auto own = reinterpret_cast<at::HostAllocator *(*)()>(dlsym(cuda, "fake_other_allocator"))();
    at::setHostAllocator(at::DeviceType::CUDA, own);
    holds("the program's own is the answer, once it is set", host() == own);
}

// A program that captures a graph has a context, and the capture would not survive torch's making one.
void context(void *cuda)
{
    reinterpret_cast<void (*)(int)>(dlsym(cuda, "fake_start"))(0);
    int asked = fake_asked("allocated");
    at::DataPtr a = host()->allocate(1 << 20);
    holds("where a context is, torch is not asked for one", ours(a) && fake_asked("allocated") == asked);
}

} // namespace

// What the plugin's constructor waits for.
extern "C" void work();
void work()
{
    std::printf("%s\n", ours(host()->allocate(1 << 20)) ? "ours" : "torch's");
}

int main(int, char **argv)
{
    std::string library = argv[1], way = argv[2];
    managed = reinterpret_cast<decltype(managed)>(dlsym(RTLD_DEFAULT, "pintensor_is_managed"));
    if (library == "-") {
        try {
            (void)host();
        } catch (const c10::Error &) {
        }
        return 0;
    }
    if (way == "before") {
        lock_and_free(1 << 20);
        lock_and_free(100);
    }
    void *cuda = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (cuda == nullptr) {
        std::printf("not ok - %s\n", dlerror());
        return 1;
    }
    fake_asked = reinterpret_cast<decltype(fake_asked)>(dlsym(cuda, "fake_asked"));
    if (way == "facts") {
        facts();
        return 0;
    }
    if (way == "before") {
        before(cuda);
        return 0;
    }
    if (way == "context") {
        context(cuda);
        return 0;
    }
    if (way == "registry") {
        registry(cuda);
        return 0;
    }
    if (way == "limited") {
        limited();
        return 0;
    }
    if (way == "refused") {
        refused();
        return 0;
    }
    if (way == "loading") {
        lock_and_free(1 << 20); // the driver is found
        if (dlopen(argv[3], RTLD_NOW) == nullptr) {
            std::printf("%s\n", dlerror());
        }
    }
    if (way == "ignore") {
        std::signal(SIGCHLD, SIG_IGN);
    }
    if (way == "threads") {
        std::vector<std::thread> threads;
        for (int i = 0; i < 8; i++) {
            threads.emplace_back([] {
                for (int n = 0; n < 1000; n++) {
                    (void)host()->allocate(4096);
                }
            });
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
    }
    at::DataPtr one = host()->allocate(1 << 20);
    std::printf("%s\n", ours(one) ? "ours" : "torch's");
    if (way == "keep") {
        (void)host()->allocate(1 << 20);
        one.release_context();
        std::fflush(stdout);
    }
    return 0;
}
