/* How the wheel's programs start, instead of by crt1.o, which since glibc 2.34 starts them with no older one. */

typedef void constructor(int argc, char **argv, char **environment);
extern constructor *const __init_array_start[], *const __init_array_end[]; /* the linker's */

/* As crtbegin.o has it for programs. */
__attribute__((visibility("hidden"))) void *__dso_handle;

/* What crt1.o brought along before 2.34; newer glibc calls it too, if there is one. */
__attribute__((used)) static void construct(int argc, char **argv, char **environment)
{
    for (constructor *const *each = __init_array_start; each < __init_array_end; each++) {
        (*each)(argc, argv, environment);
    }
}

__asm__(".symver __libc_start_main,__libc_start_main@GLIBC_2.2.5\n"
        ".pushsection .text\n"
        ".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rdx, %r9\n" /* what the dynamic linker wants called at the end */
        "    pop %rsi\n"      /* argc */
        "    mov %rsp, %rdx\n"
        "    and $-16, %rsp\n"
        "    push %rax\n"
        "    push %rsp\n"
        "    xor %r8d, %r8d\n"
        "    lea construct(%rip), %rcx\n"
        "    lea main(%rip), %rdi\n"
        "    call *__libc_start_main@GOTPCREL(%rip)\n"
        "    hlt\n"
        ".size _start, . - _start\n"
        ".popsection\n");
