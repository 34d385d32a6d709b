/* Pins by two lines of one function, by one that is built in where it is called, and by a member in a namespace; none of
 * it is given back. tests/native_lines.sh knows the lines by their comments. */
#include <pintensor.h>

#include <csignal>

static pintensor_manager manager;

static void pin(unsigned long bytes)
{
    pintensor_block b;
    pintensor_alloc(manager, bytes, &b); /* line: pin */
}

namespace data
{
struct Loader {
    __attribute__((noinline)) void fill(bool large)
    {
        if (large) {
            pin(2 << 20); /* line: large */
        } else {
            pin(1 << 20); /* line: small */
        }
        asm volatile("");
    }
};
} // namespace data

int main(int argc, char **)
{
    manager = pintensor_manager_create();
    data::Loader loader;
    loader.fill(true);
    loader.fill(false);
    if (argc > 1) {
        std::raise(SIGKILL);
    }
}
