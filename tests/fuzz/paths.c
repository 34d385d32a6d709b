/* Any pattern for a path, and any text that is to be a number. */
#include "base/path.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t len)
{
    char *pattern = malloc(len + 1), small[64], large[PT_PATH_MOST];
    memcpy(pattern, data, len);
    pattern[len] = '\0';
    struct pt_text t;
    pt_text_init(&t, small, sizeof small, -1);
    pt_path_add(&t, pattern, 1, -1);
    if (strlen(small) >= sizeof small) {
        abort();
    }
    pt_text_init(&t, large, sizeof large, -1);
    pt_path_add(&t, pattern, 4242, 7);
    uint64_t number;
    (void)pt_text_parse_u64(pattern, &number);
    (void)pt_text_distance(pattern, "PINTENSOR_REPORT");
    free(pattern);
    return 0;
}
