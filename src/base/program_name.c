#include "base/program_name.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

bool pt_program_name_of(const char *words, size_t n, struct pt_text *t)
{
    const char *end = words + n, *word = words;
    if (n == 0 || end[-1] != '\0' || *last_part(words) == '\0') {
        return false;
    }
    bool python = strncmp(last_part(words), "python", strlen("python")) == 0;
    for (word += strlen(word) + 1; python && word < end; word += strlen(word) + 1) {
        const char *next = word + strlen(word) + 1;
        if (word[0] != '-') {
            pt_text_add(t, "%s", last_part(word));
            return true;
        }
        if (strcmp(word, "-m") == 0 && next < end) {
            pt_text_add(t, "python -m %s", next);
            return true;
        }
        if (strcmp(word, "-W") == 0 || strcmp(word, "-X") == 0) {
            word = next < end ? next : word; /* its value */
        } else if (word[1] == 'c' || word[1] == '\0') {
            pt_text_add(t, "python %s", word);
            return true;
        }
    }
    pt_text_add(t, "%s", last_part(words));
    return true;
}

void pt_program_name_add(struct pt_text *t, bool may_open)
{
    static char words[4096]; /* not on the stack, which may be small: asked for once a process, by one thread */
    int error = errno, fd = may_open ? open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, words, sizeof words) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    while (n > 0 && words[n - 1] != '\0') { /* cut in the middle of a word */
        n--;
    }
    if (n <= 0 || !pt_program_name_of(words, (size_t)n, t)) {
        pt_text_add(t, "%s", program_invocation_short_name);
    }
}
