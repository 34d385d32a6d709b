// at::Tensor on locked memory, without Python.
#include <pintensor.hpp>

#include <cstdio>

int main()
try {
    at::Tensor weights = pintensor::empty({256, 1000}, at::kBFloat16);
    weights.fill_(0.5);
    at::Tensor rows = weights.slice(0, 16, 32); // a view keeps the memory, and is locked too
    weights.reset();
    std::printf("sum %g, locked: %s\n", rows.to(at::kFloat).sum().item<double>(),
                pintensor::is_managed(rows) ? "yes" : "no");
    return 0;
} catch (const std::exception &problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
