/* An interposer that does nothing: DeepSpeed's alloc returns a tensor on the same static bytes every time. What is left
 * of new_cpu_locked_tensor is Python, pybind11 and libtorch. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static void drop(void *data, void *context)
{
    (void)data, (void)context;
}

__attribute__((visibility("default"))) void *alloc(void *result, void *self, int64_t elements, const void *options)
    __asm__("_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE");
void *alloc(void *result, void *self, int64_t elements, const void *options)
{
    static char bytes[1 << 16] __attribute__((aligned(4096)));
    static int32_t (*from_blob)(void *, int64_t, const int64_t *, const int64_t *, int64_t, int32_t, int32_t, int32_t,
                                void **, int32_t, const uint8_t *, int64_t, void (*)(void *, void *), void *);
    static void (*delete)(void *);
    (void)self, (void)options;
    if (from_blob == NULL) {
        void *torch = dlopen("libtorch_cpu.so", RTLD_NOLOAD | RTLD_LAZY);
        *(void **)&from_blob = dlsym(torch, "torch_from_blob");
        *(void **)&delete = dlsym(torch, "_ZdlPv");
    }
    enum { FLOAT = 6, CPU = 0 };
    const int64_t one = 1;
    void *shell;
    if (from_blob(bytes, 1, &elements, &one, 0, FLOAT, CPU, -1, &shell, 0, NULL, 0, drop, NULL) != 0) {
        abort();
    }
    *(void **)result = *(void **)shell; /* an at::Tensor is one pointer */
    delete (shell);
    return result;
}
