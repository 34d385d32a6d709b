#include <pintensor.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    pintensor_manager manager = pintensor_manager_create();
    pintensor_block block;
    if (pintensor_alloc(manager, 3 << 20, &block) != 0) {
        fprintf(stderr, "%s\n", pintensor_last_error());
        return 1;
    }
    memset(block.data, 1, block.bytes); /* all of it is locked */
    printf("%zu bytes, locked: %s\n", block.bytes, pintensor_is_managed(block.data, block.bytes) ? "yes" : "no");
    pintensor_free_block(manager, &block);
    pintensor_manager_destroy(manager); /* frees what is left */
    return 0;
}
