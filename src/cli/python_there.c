#include "cli/python_there.h"

#include "base/torch_versions.h"
#include "cli/tries.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PATIENCE_S = 60 };

/* Where a package lies is found without running it; its version is read, or is its distribution's. */
static const char script[] =
    "import importlib.util, os, platform, re, sys\n"
    "print('program=' + os.path.realpath(sys.executable))\n"
    "print('version=' + platform.python_version())\n"
    "for name, file in ('torch', 'version.py'), ('deepspeed', 'git_version_info_installed.py'):\n"
    "    try:\n"
    "        spec = importlib.util.find_spec(name)\n"
    "    except Exception:\n"
    "        spec = None\n"
    "    if spec is None or not spec.origin:\n"
    "        continue\n"
    "    folder = os.path.dirname(os.path.realpath(spec.origin))\n"
    "    print(name + '=' + folder)\n"
    "    try:\n"
    "        with open(os.path.join(folder, file)) as f:\n"
    "            found = re.search(r\"^(?:__version__|version) *(?:: *str *)?= *['\\\"]([^'\\\"]+)\", f.read(), "
    "re.M)[1]\n"
    "    except Exception:\n"
    "        try:\n"
    "            from importlib.metadata import version\n"
    "            found = version(name)\n"
    "        except Exception:\n"
    "            continue\n"
    "    print(name + '_version=' + found)\n";

static struct pt_python_there there;

static void take(const char *line)
{
    static const struct {
        const char *key;
        char *value;
        size_t cap;
    } keys[] = {{"program=", there.program, sizeof there.program},
                {"version=", there.version, sizeof there.version},
                {"torch=", there.torch, sizeof there.torch},
                {"torch_version=", there.torch_version, sizeof there.torch_version},
                {"deepspeed=", there.deepspeed, sizeof there.deepspeed},
                {"deepspeed_version=", there.deepspeed_version, sizeof there.deepspeed_version}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t len = strlen(keys[i].key);
        if (strncmp(line, keys[i].key, len) == 0) {
            (void)snprintf(keys[i].value, keys[i].cap, "%s", line + len);
        }
    }
}

const struct pt_python_there *pt_python_there(void)
{
    static bool asked;
    static char said[8192];
    char *names[] = {"python3", "python"};
    for (size_t i = 0; !asked && i < sizeof names / sizeof names[0] && there.program[0] == '\0'; i++) {
        char *argv[] = {names[i], "-c", (char *)script, NULL};
        int result = pt_try_program(argv, PATIENCE_S, said, sizeof said);
        char *rest = said, *line;
        while (result == 0 && (line = strsep(&rest, "\n")) != NULL) {
            take(line);
        }
        if (result == -ETIMEDOUT) {
            (void)snprintf(there.why, sizeof there.why, "%s gave no answer in %d s", names[i], PATIENCE_S);
            break;
        }
        if (result != 0 && result != 127) {
            (void)snprintf(there.why, sizeof there.why, "%s could not be asked (status %d)", names[i], result);
        }
    }
    asked = true;
    return &there;
}

int pt_python_torch_minor(void)
{
    int minor;
    return sscanf(pt_python_there()->torch_version, "2.%d", &minor) == 1 ? minor : 0;
}

bool pt_python_torch_is_served(void)
{
    return pt_python_torch_minor() >= PT_TORCH_OLDEST && pt_python_torch_minor() <= PT_TORCH_NEWEST;
}
