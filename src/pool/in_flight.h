/* Blocks in flight: dropped, PT_FLYING since, and a device still uses them. Their memory is not handed out again before
 * the streams that used them are done (stream_use.h), and the thread that drops one does not wait for that.
 *
 * Such a block is nobody's but the list's. Who looks at one takes it off the list first: it is his alone then. */
#ifndef PT_IN_FLIGHT_H
#define PT_IN_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

/* Forgets everything, for a fresh table. */
void pt_in_flight_reset(void);

/* Whether the block that ends now has to wait. With the pool's lock held. */
struct pt_record;
bool pt_in_flight_holds(const struct pt_record *r);

/* A block that has to wait, PT_FLYING since, begins to. With no lock held, and takes none. */
void pt_in_flight_depart(uint32_t number);

/* Memory whose devices are done with it can be used again: true if some can. FEW: looks at some that wait; ALL: at all
 * of them; WAIT: once the devices have finished, unless a capture runs. With no lock held; cheap when nothing waits. */
enum pt_in_flight_effort { PT_IN_FLIGHT_FEW, PT_IN_FLIGHT_ALL, PT_IN_FLIGHT_WAIT };
bool pt_in_flight_settle(enum pt_in_flight_effort effort);

bool pt_in_flight_waiting(void);

/* Whether any block waits for more than the streams that are known of. */
bool pt_in_flight_strict(void);

#endif
