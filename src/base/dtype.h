/* Element types of torch tensors: sizes and names by ScalarType code. A leaf. */
#ifndef PT_DTYPE_H
#define PT_DTYPE_H

#include <stddef.h>

#define PT_DTYPE_NONE (-1) /* a raw block, asked for in bytes */

size_t pt_dtype_size(int code);      /* bytes an element; 0 for an unknown code */
const char *pt_dtype_name(int code); /* "bfloat16"; "bytes" for PT_DTYPE_NONE; never NULL */
int pt_dtype_dlpack(int code);       /* DLPack's kind, as kDLFloat; negative: none, or an unknown code */

#endif
