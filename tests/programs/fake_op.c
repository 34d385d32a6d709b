/* An op in the shape of DeepSpeed's: it exports the pinned-tensor manager's alloc, which locks memory, and calls it.
 * Linked with -Bsymbolic-functions it calls its own; otherwise the preload's. */
#include <stdlib.h>
#include <sys/mman.h>

void *manager_alloc(void *result, void *self, long elements,
                    const void *options) __asm__("_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE");
void *manager_alloc(void *result, void *self, long elements, const void *options)
{
    (void)self;
    (void)options;
    void *p = aligned_alloc(4096, (size_t)elements);
    *(void **)result = p;
    return mlock(p, (size_t)elements) == 0 ? result : NULL;
}

void *op_new(long elements)
{
    static const unsigned char cpu_uint8[8] = {0, 0xff, 0, 0, 0, 0, 0x1c};
    void *tensor = NULL;
    return manager_alloc(&tensor, &tensor, elements, cpu_uint8) != NULL ? tensor : NULL;
}
