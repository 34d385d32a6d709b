#include "base/dtype.h"

#include "pintensor/dlpack.h"

static const struct {
    const char *name;
    size_t bytes;
    int dlpack;
} dtypes[] = {
#define NONE                         (-1)
#define X(code, name, bytes, dlpack) [code] = {name, bytes, dlpack},
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

int pt_dtype_dlpack(int code)
{
    return known(code) ? dtypes[code].dlpack : NONE;
}
