#include "flight.h"

#include "table.h"

bool pt_flight_use(const void *p, void *stream, int device, bool until_drop)
{
    (void)stream;
    (void)device;
    (void)until_drop;
    return pt_table_ours(p);
}
