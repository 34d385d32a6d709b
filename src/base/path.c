#include "base/path.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static char directory[4096];

__attribute__((constructor)) static void remember_directory(void)
{
    if (getcwd(directory, sizeof directory) == NULL) {
        directory[0] = '\0';
    }
}

void pt_path_add_host(struct pt_text *t)
{
    struct utsname host;
    if (uname(&host) != 0) {
        return;
    }
    host.nodename[strcspn(host.nodename, "./")] = '\0';
    pt_text_add(t, "%s", host.nodename);
}

bool pt_path_is_this_host(const char *name)
{
    char here[sizeof((struct utsname *)NULL)->nodename];
    struct pt_text t;
    pt_text_init(&t, here, sizeof here, -1);
    pt_path_add_host(&t);
    return strcmp(name, here) == 0;
}

void pt_path_add(struct pt_text *t, const char *pattern, int pid, int rank)
{
    if (pattern[0] != '/' && directory[0] != '\0') {
        pt_text_add(t, "%s/", directory);
    }
    for (const char *p = pattern; *p != '\0'; p++) {
        char what = p[0] == '%' ? p[1] : '\0';
        if (what == 'p' || what == 'r') {
            pt_text_add(t, "%d", what == 'p' ? pid : rank >= 0 ? rank : 0);
        } else if (what == 'h') {
            pt_path_add_host(t);
        } else {
            what = '\0';
            char one[2] = {*p, '\0'};
            pt_text_add(t, "%s", one);
        }
        p += what != '\0';
    }
}

bool pt_path_make_directories(char *path)
{
    bool made = true;
    for (char *slash = path; made && (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        made = access(path, F_OK) == 0 || mkdir(path, 0777) == 0 || errno == EEXIST;
    }
    return made;
}
