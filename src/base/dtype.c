#include "base/dtype.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
#define X(code, name, bytes) [code] = {name, bytes},
#include "base/dtype.def"
#undef X
};

static int known(int code)
{
    return code >= 0 && (size_t)code < sizeof dtypes / sizeof dtypes[0];
}

size_t pt_dtype_size(int code)
{
    return known(code) ? dtypes[code].bytes : 0;
}

const char *pt_dtype_name(int code)
{
    if (code == PT_DTYPE_NONE) {
        return "bytes";
    }
    return known(code) ? dtypes[code].name : "elements";
}
