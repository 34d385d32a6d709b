#include "base/old_libc.h"

#include "base/libraries.h"

#include <stddef.h>

/* Each is a jump to what its slot says. */
#define X(name)                                                                                                        \
    extern void *pt_libc_slot_##name __attribute__((visibility("hidden")));                                            \
    void *pt_libc_slot_##name;                                                                                         \
    __asm__(".pushsection .text\n"                                                                                     \
            ".globl pt_libc_" #name "\n"                                                                               \
            ".hidden pt_libc_" #name "\n"                                                                              \
            ".type pt_libc_" #name ", @function\n"                                                                     \
            "pt_libc_" #name ": jmp *pt_libc_slot_" #name "(%rip)\n"                                                   \
            ".size pt_libc_" #name ", . - pt_libc_" #name "\n"                                                         \
            ".popsection\n");
#include "base/old_libc.def"
#undef X

static const char *const names[] = {
#define X(name) #name,
#include "base/old_libc.def"
#undef X
};
static void **const slots[] = {
#define X(name) &pt_libc_slot_##name,
#include "base/old_libc.def"
#undef X
};
enum { COUNT = sizeof slots / sizeof slots[0] };

/* As calls would find them. Behind the constructors of linker.c and libraries.c; all at once, since linker.c has locks or has
 * none. */
__attribute__((constructor(103))) static void look_up(void)
{
    void *found[COUNT] = {0};
    (void)pt_libraries_find_all(PT_ALL_OBJECTS, names, found, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        *slots[i] = *slots[i] != NULL ? *slots[i] : found[i];
    }
}

static bool complete(void)
{
    bool all = true;
    for (unsigned i = 0; i < COUNT; i++) {
        all = all && *slots[i] != NULL;
    }
    return all;
}

bool pt_old_libc_complete(void)
{
    if (!complete()) {
        look_up(); /* libpthread may have come since */
    }
    return complete();
}
