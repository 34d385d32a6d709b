#include "device/driver.h"

#include "base/libraries.h"
#include "base/linker.h"
#include "base/log.h"
#include "device/runtime.h"

#include <errno.h>
#include <stdatomic.h>

static const struct pt_runtime *const runtimes[] = {&pt_runtime_cuda};

static const struct pt_runtime *_Atomic runtime; /* the one in this process */
static _Atomic uint64_t made, taken_back;        /* registrations */
static _Atomic int refusal;                      /* the code of the one that was for good, or: */
enum { NOT_BY_ADDRESS = -1 };
static __thread int last_error;

/* ---- finding it ---- */

static const struct pt_runtime *row(void)
{
    return atomic_load_explicit(&runtime, memory_order_acquire);
}

/* Whether it is there, and bound. -EBUSY: it may be, but somebody else loads or unloads something just now. */
static int bind_if_there(const struct pt_runtime *candidate)
{
    struct pt_library found;
    int error = pt_libraries_named(candidate->library, NULL, &found);
    if (error != 0) {
        return error;
    }
    if (!pt_linker_begin()) {
        return -EBUSY;
    }
    /* Once more: it may have gone. Kept from here on: it has to stay as long as it holds memory. */
    error = pt_libraries_named(candidate->library, NULL, &found);
    bool bound = error == 0 && pt_libraries_keep(&found) && candidate->bind(&found.elf);
    pt_linker_end();
    return bound ? 0 : error == -EBUSY ? error : -ENOENT;
}

bool pt_driver_look(void)
{
    static _Atomic unsigned long long seen;
    unsigned long long loaded;
    if (row() != NULL || pt_libraries_loaded(&loaded) != 0 || loaded == seen) {
        return false;
    }
    int error = -ENOENT;
    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0] && error == -ENOENT; i++) {
        error = bind_if_there(runtimes[i]);
        if (error == 0) {
            atomic_store_explicit(&runtime, runtimes[i], memory_order_release);
        }
    }
    if (error != -EBUSY) {
        seen = loaded;
    }
    return error == 0;
}

bool pt_driver_found(void)
{
    return row() != NULL;
}

bool pt_driver_in_use(void)
{
    const struct pt_runtime *r = row();
    return r != NULL && r->in_use();
}

bool pt_driver_ready(void)
{
    const struct pt_runtime *r = row();
    return r != NULL && r->ready();
}

/* ---- whether it is of use ---- */

static void refuse(int code)
{
    static const char so[] = "torch's pinned memory stays its own, and DeepSpeed's is locked without it";
    int none = 0;
    if (!atomic_compare_exchange_strong(&refusal, &none, code)) {
        return;
    }
    if (code == NOT_BY_ADDRESS) {
        pt_log("a device here cannot use registered memory by the program's addresses, as under WSL2: %s", so);
    } else {
        pt_log("the device's driver registers no memory (its error %d): %s", code, so);
    }
}

/* What is refused before anything was registered may have been too much, or all is refused: a page tells, once. It is
 * kept, since taking it back would wait for the device. 0, or the runtime's code. */
static int ask_for_a_page(const struct pt_runtime *r)
{
    static char page[4096] __attribute__((aligned(4096)));
    static _Atomic bool asked;
    return atomic_exchange(&asked, true) ? 0 : r->hold(page, sizeof page);
}

bool pt_driver_refuses(void)
{
    const struct pt_runtime *r = row();
    if (r == NULL) {
        return false;
    }
    if (atomic_load_explicit(&refusal, memory_order_relaxed) == 0 && !r->usable()) {
        refuse(NOT_BY_ADDRESS);
    }
    return atomic_load_explicit(&refusal, memory_order_relaxed) != 0;
}

bool pt_driver_registers(void)
{
    return pt_driver_ready() && !pt_driver_refuses();
}

bool pt_driver_takes_a_page(void)
{
    const struct pt_runtime *r = row();
    int saved;
    if (!pt_driver_refuses() && made == 0 && r != NULL && r->enter(&saved)) {
        int code = ask_for_a_page(r);
        r->leave(saved);
        if (code != 0) {
            refuse(code);
        }
    }
    return !pt_driver_refuses();
}

/* ---- using it ---- */

static void let_go(const struct pt_runtime *r, char *p, size_t len)
{
    for (size_t done = 0; done < len; done += r->most) {
        taken_back++;
        (void)r->let_go(p + done); /* the program may have reset its context, and all is gone with it */
    }
}

int pt_driver_register(void *p, size_t len)
{
    const struct pt_runtime *r = row();
    int saved, error = 0;
    last_error = 0;
    if (r == NULL || pt_driver_refuses() || !r->enter(&saved)) {
        return -ENODEV;
    }
    for (size_t done = 0; done < len && error == 0; done += r->most) {
        size_t left = len - done;
        bool first = made == 0;
        error = r->hold((char *)p + done, left < r->most ? left : r->most);
        made += error == 0;
        if (error != 0) {
            let_go(r, p, done);
        }
        if (error != 0 && (r->refuses_all(error, first) || (first && ask_for_a_page(r) != 0))) {
            refuse(error);
        }
    }
    r->leave(saved);
    last_error = error;
    return error == 0 ? 0 : error == r->out_of_memory ? -ENOMEM : -EIO;
}

void pt_driver_unregister(void *p, size_t len)
{
    const struct pt_runtime *r = row();
    int saved;
    if (r != NULL && r->enter(&saved)) {
        let_go(r, p, len);
        r->leave(saved);
    }
}

void pt_driver_counts(uint64_t *count_made, uint64_t *count_taken_back)
{
    *count_made = made;
    *count_taken_back = taken_back;
}

int pt_driver_error(void)
{
    int code = atomic_load_explicit(&refusal, memory_order_relaxed);
    return code > 0 ? code : last_error;
}

/* ---- streams ---- */

bool pt_driver_place(void *stream, int device, struct pt_place *out)
{
    const struct pt_runtime *r = row();
    return r != NULL && r->place(stream, device, out);
}

uint64_t pt_driver_identity(void *stream)
{
    const struct pt_runtime *r = row();
    return r != NULL ? r->identity(stream) : 0;
}

bool pt_driver_captured(void *stream)
{
    const struct pt_runtime *r = row();
    return r != NULL && r->captured(stream);
}

bool pt_driver_mark(const struct pt_place *place, void *stream, void **event)
{
    const struct pt_runtime *r = row();
    return r != NULL && r->mark(place, stream, event);
}

enum pt_passed pt_driver_passed(const struct pt_place *place, void *event)
{
    const struct pt_runtime *r = row();
    return r != NULL ? r->passed(place, event) : PT_PASSED;
}

bool pt_driver_finish(void)
{
    const struct pt_runtime *r = row();
    return r == NULL || r->finish();
}
