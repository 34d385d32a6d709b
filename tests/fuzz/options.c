/* Any environment: bytes up to a zero are an entry. */
#include "base/options.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
    static char bytes[4096 + 1];
    char *environment[64] = {0};
    len = len < sizeof bytes - 1 ? len : sizeof bytes - 1;
    memcpy(bytes, data, len);
    bytes[len] = '\0';
    size_t at = 0;
    for (unsigned n = 0; n < 63 && at < len; n++) {
        environment[n] = bytes + at;
        at += strlen(bytes + at) + 1;
    }
    pt_options_load(environment);
    for (unsigned o = 0; o < PT_OPTION_COUNT; o++) {
        (void)pt_option((enum pt_option)o);
        (void)strlen(pt_option_text((enum pt_option)o));
    }
    return 0;
}
