/* A program of somebody who installed the library: pins, uses, frees, and forgets one block. */
#include <pintensor.h>
#include <stdio.h>
#include <string.h>

void *forgetful(pintensor_manager manager);
void *forgetful(pintensor_manager manager)
{
    pintensor_block block;
    if (pintensor_alloc(manager, 300000, &block) != 0) {
        fprintf(stderr, "%s\n", pintensor_last_error());
        return NULL;
    }
    return memset(block.data, 1, block.bytes);
}

int main(void)
{
    pintensor_manager manager = pintensor_manager_create();
    pintensor_block block;
    if (pintensor_alloc(manager, 1 << 20, &block) != 0 || !pintensor_is_managed(block.data, block.bytes) ||
        pintensor_free_block(manager, &block) != 0 || pintensor_is_managed(block.data, 1)) {
        fprintf(stderr, "%s\n", pintensor_last_error());
        return 1;
    }
    printf("version %s\n", pintensor_version());
    return forgetful(manager) != NULL ? 0 : 1;
}
