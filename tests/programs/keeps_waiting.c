/* A library's function that calls us a while after its caller, a Python thread, has let go of the GIL. */
#include <pintensor.h>
#include <unistd.h>

pintensor_manager create_later(void)
{
    usleep(200000);
    return pintensor_manager_create();
}
