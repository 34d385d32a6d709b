// Reads a file with O_DIRECT, which wants aligned memory, into locked blocks that go back by themselves.
#include <pintensor.hpp>

#include <cstdio>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

int main(int argc, char **argv)
try {
    int file = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
    if (file < 0 && argc > 1) {
        file = open(argv[1], O_RDONLY); // a file system without O_DIRECT
    }
    if (file < 0) {
        std::perror(argc > 1 ? argv[1] : "usage: pinned_copy FILE");
        return 2;
    }
    pintensor::manager manager;
    std::vector<pintensor::block> parts;
    size_t total = 0;
    for (ssize_t got = 1; got > 0; total += got) {
        parts.push_back(manager.alloc(64 << 10));
        got = read(file, parts.back().data(), parts.back().size());
        if (got < 0) {
            std::perror(argv[1]);
            return 1;
        }
    }
    close(file);
    pintensor_stats stats;
    pintensor_get_stats(&stats, sizeof stats);
    std::printf("%zu bytes in %zu blocks, %llu alive\n", total, parts.size(),
                static_cast<unsigned long long>(stats.live_blocks));
    parts.clear(); // before the manager
    return 0;
} catch (const pintensor::error &problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
