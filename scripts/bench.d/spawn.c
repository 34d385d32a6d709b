/* Answers "start COUNT LIBRARY" lines: the median time to start /bin/true and wait for it, without and with the library
 * preloaded, turn about. */
#include "bench.h"

#include <spawn.h>
#include <sys/wait.h>

static double start_one(char *const *environment)
{
    char *arguments[] = {"true", NULL};
    pid_t child;
    int status;
    double start = seconds();
    if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environment) != 0 ||
        waitpid(child, &status, 0) != child || status != 0) {
        fail("/bin/true");
    }
    return seconds() - start;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    char line[4096], preload[4096] = "LD_PRELOAD=";
    size_t count;
    begin();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "start %zu %4000s", &count, preload + strlen("LD_PRELOAD=")) != 2) {
            fail(line);
        }
        char *plain[] = {"PATH=/bin", NULL}, *preloaded[] = {"PATH=/bin", preload, NULL};
        double *with = malloc(count * sizeof *with), *without = malloc(count * sizeof *without);
        for (size_t i = 0; i < count; i++) {
            without[i] = start_one(plain);
            with[i] = start_one(preloaded);
        }
        qsort(with, count, sizeof *with, by_value);
        qsort(without, count, sizeof *without, by_value);
        printf("%.9g %.9g\n", without[count / 2], with[count / 2]);
        free(with);
        free(without);
    }
    return 0;
}
