/* The public calls: arguments checked, errors put into words, the work passed on. */
#include "api/dlpack.h"
#include "api/tensor.h"
#include "base/dtype.h"
#include "device/driver.h"
#include "life/block.h"
#include "life/held.h"
#include "life/held_by.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "memory/thread_page.h"
#include "pintensor.h"
#include "pool/stream_use.h"
#include "pool/upkeep.h"
#include "report/misuse.h"
#include "report/report.h"
#include "trace/python.h"

#include <errno.h>
#include <string.h>

static __thread int last_code; /* of this thread's last failure; its details are in the thread's page */

static const struct {
    int code;
    const char *text;
} errors[] = {
#define X(name, code, text) {code, text},
    PINTENSOR_ERRORS(X)
#undef X
};

const char *pintensor_strerror(int code)
{
    if (code == 0) {
        return "no error";
    }
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (errors[i].code == code) {
            return errors[i].text;
        }
    }
    return "unknown error";
}

const char *pintensor_last_error(void)
{
    const struct pt_thread_page *p = pt_thread_page_there();
    return last_code == 0 ? "" : p != NULL && p->text[0] != '\0' ? p->text : pintensor_strerror(last_code);
}

/* Where a failure's details go. False: there is no memory for them, and the code's text has to do. */
static bool details_of(int code, struct pt_text *t)
{
    struct pt_thread_page *p = pt_thread_page();
    last_code = code;
    if (p != NULL) {
        pt_text_init(t, p->text, sizeof p->text, -1);
    }
    return p != NULL;
}

/* Leaves the code's text, then the details. */
static int fail(int code, const char *details)
{
    struct pt_text t;
    if (details_of(code, &t)) {
        pt_text_add(&t, details[0] != '\0' ? "%s: %s" : "%s", pintensor_strerror(code), details);
    }
    return code;
}

static int fail_alloc(int error, size_t bytes)
{
    if (error == -ENODEV) {
        return fail(PINTENSOR_EOFF, "");
    }
    struct pt_text t;
    if (details_of(PINTENSOR_ELIMIT, &t)) {
        pt_block_explain(bytes, &t);
    }
    return PINTENSOR_ELIMIT;
}

static struct pt_block of_id(const pintensor_block *b)
{
    return (struct pt_block){b->data, (uint32_t)b->id, (uint32_t)(b->id >> 32)};
}

pintensor_manager pintensor_manager_create(void)
{
    return pt_init() == 0 ? pt_managers_new() : 0;
}

#define NO_SUCH_MANAGER "it was destroyed, or pintensor_manager_create() never made it"

void pintensor_manager_destroy(pintensor_manager manager)
{
    if (pt_managers_end(manager)) {
        pt_block_close_manager((uint32_t)manager);
    } else if (manager != 0) {
        (void)fail(PINTENSOR_EINVALID, "there is no such manager: " NO_SUCH_MANAGER ". Destroy each once");
    }
}

/* A manager that blocks can be asked of: 0; or the error. */
static int check_manager(pintensor_manager manager)
{
    if (pt_managers_alive(manager)) {
        return 0;
    }
    if (manager == 0) {
        return fail(PINTENSOR_EINVALID, "manager is 0");
    }
    return pt_init() != 0
               ? fail(PINTENSOR_EOFF, "")
               : fail(PINTENSOR_EINVALID, "there is no such manager: " NO_SUCH_MANAGER ". Make a new one with it");
}

int pintensor_alloc(pintensor_manager manager, size_t bytes, pintensor_block *block)
{
    if (block == NULL) {
        return fail(PINTENSOR_EINVALID, "block is NULL");
    }
    int wrong = check_manager(manager);
    if (wrong != 0) {
        return wrong;
    }
    *block = (pintensor_block){0};
    if (bytes == 0) {
        return 0;
    }
    struct pt_block made;
    struct pt_request q = {.manager = (uint32_t)manager,
                           .bytes = bytes,
                           .dtype = PT_DTYPE_NONE,
                           .door = PT_DOOR_C,
                           .caller = __builtin_return_address(0)};
    int error = pt_block_alloc(&q, &made);
    if (error != 0) {
        return fail_alloc(error, bytes);
    }
    *block = (pintensor_block){made.base, bytes, (uint64_t)made.generation << 32 | made.number};
    return 0;
}

/* What is freed by an unknown manager is misuse, as with the wrong one. */
static uint32_t number_of(pintensor_manager manager)
{
    return pt_managers_alive(manager) ? (uint32_t)manager : PT_MANAGERS_NOBODY;
}

static int released(pintensor_manager manager, int error)
{
    switch (error) {
    case 0: return 0;
    case -ESTALE: return fail(PINTENSOR_ESTALE, "");
    default:
        return fail(PINTENSOR_ENOT_OURS, manager == 0 || pt_managers_alive(manager)
                                             ? "nothing was freed"
                                             : "nothing was freed. There is no such manager: " NO_SUCH_MANAGER
                                               ". Free blocks with the manager that made them, before it goes");
    }
}

int pintensor_free(pintensor_manager manager, void *data)
{
    return data == NULL ? 0
                        : released(manager, pt_block_release(number_of(manager), data, __builtin_return_address(0)));
}

int pintensor_free_block(pintensor_manager manager, const pintensor_block *block)
{
    if (block == NULL) {
        return fail(PINTENSOR_EINVALID, "block is NULL");
    }
    struct pt_block b = of_id(block);
    return b.base == NULL
               ? 0
               : released(manager, pt_block_release_block(number_of(manager), &b, __builtin_return_address(0)));
}

int pintensor_record_stream(const void *data, void *stream)
{
    return pt_stream_use_note(data, stream, PT_STREAM_USE_CURRENT, false)
               ? 0
               : fail(PINTENSOR_ENOT_OURS, "no live block lies there");
}

int pintensor_tensor_alloc(pintensor_manager manager, int64_t elements, int scalar_type, pintensor_tensor *tensor)
{
    if (tensor == NULL) {
        return fail(PINTENSOR_EINVALID, "tensor is NULL");
    }
    int wrong = check_manager(manager);
    if (wrong != 0) {
        return wrong;
    }
    *tensor = NULL;
    struct pt_tensor_request q = {.manager = (uint32_t)manager,
                                  .elements = elements,
                                  .dtype = scalar_type,
                                  .device_index = -1,
                                  .door = PT_DOOR_C,
                                  .caller = __builtin_return_address(0)};
    int error = pt_tensor_alloc(&q, tensor);
    switch (error) {
    case 0: return 0;
    case -EINVAL: return fail(PINTENSOR_EINVALID, "no such number of elements, or no such type");
    case -ENOSYS: return fail(PINTENSOR_ENO_TORCH, "");
    case -EIO: return fail(PINTENSOR_ETORCH, pt_tensor_error());
    default: return fail_alloc(error, pt_tensor_bytes(elements, scalar_type));
    }
}

int pintensor_tensor_free(pintensor_manager manager, pintensor_tensor tensor)
{
    struct pt_extent e;
    if (tensor == NULL) {
        return fail(PINTENSOR_EINVALID, "tensor is NULL");
    }
    if (pt_tensor_extent(tensor, &e) != 0) {
        return fail(PINTENSOR_ETORCH, pt_tensor_error());
    }
    return released(manager, pt_block_release(number_of(manager), e.data, __builtin_return_address(0)));
}

static int dlpack_alloc(const struct pt_dlpack_request *q, void **tensor)
{
    int error = pt_dlpack_alloc(q, tensor);
    return error == -EINVAL ? fail(PINTENSOR_EINVALID, "no such shape, or no type that DLPack has")
           : error != 0     ? fail_alloc(error, pt_dlpack_bytes(q))
                            : 0;
}

int pintensor_dlpack_alloc(int dims, const int64_t *shape, int scalar_type, struct DLManagedTensor **tensor)
{
    if (tensor == NULL) {
        return fail(PINTENSOR_EINVALID, "tensor is NULL");
    }
    struct pt_dlpack_request q = {dims, shape, scalar_type, .caller = __builtin_return_address(0)};
    void *made = NULL;
    int error = dlpack_alloc(&q, &made);
    *tensor = made;
    return error;
}

int pintensor_dlpack_alloc_versioned(int dims, const int64_t *shape, int scalar_type,
                                     struct DLManagedTensorVersioned **tensor)
{
    if (tensor == NULL) {
        return fail(PINTENSOR_EINVALID, "tensor is NULL");
    }
    struct pt_dlpack_request q = {dims, shape, scalar_type, .versioned = true, .caller = __builtin_return_address(0)};
    void *made = NULL;
    int error = dlpack_alloc(&q, &made);
    *tensor = made;
    return error;
}

bool pintensor_is_managed(const void *data, size_t bytes)
{
    return pt_table_covers(data, bytes);
}

bool pintensor_tensor_is_managed(pintensor_tensor tensor)
{
    struct pt_extent e;
    return tensor != NULL && pt_tensor_extent(tensor, &e) == 0 && e.cpu && pt_table_covers(e.data, e.bytes);
}

void pintensor_get_stats(pintensor_stats *stats, size_t size)
{
    pintensor_stats all = {0};
    if (pt_owner_owns_strictly()) {
        struct pt_table *t = pt_table();
        struct pt_counters *c = &t->counters;
        pt_upkeep_take_back_all();
        all = (pintensor_stats){.live_blocks = c->live,
                                .live_bytes = c->live_bytes,
                                .live_locked = c->live_locked,
                                .cached_bytes = pt_upkeep_cached(),
                                .peak_bytes = c->peak_bytes,
                                .peak_locked = c->peak_locked,
                                .locked_bytes = pt_pin_bytes(),
                                .allocated_blocks = c->allocated,
                                .reused_blocks = c->reused,
                                .reclaimed_blocks = c->reclaimed,
                                .pageable_blocks = c->pageable,
                                .mark_peak_bytes = c->mark_peak_bytes,
                                .others_blocks = PT_GET(t->foreign.live),
                                .others_bytes = PT_GET(t->foreign.live_bytes)};
        pt_driver_counts(&all.registrations, &all.unregistrations);
        for (uint32_t i = 0; i < atomic_load(&t->misuses); i++) {
            all.misuses += PT_GET(t->misuse[i].count);
        }
    }
    memset(stats, 0, size);
    memcpy(stats, &all, size < sizeof all ? size : sizeof all);
}

void pintensor_mark(void)
{
    if (pt_owner_owns_strictly()) {
        pt_upkeep_mark();
    }
}

size_t pintensor_trim(void)
{
    return pt_upkeep_trim();
}

static int report(int fd, bool ask)
{
    if (!pt_owner_owns_strictly()) {
        return fail(PINTENSOR_EOFF, "nothing was pinned by this process");
    }
    if (fd < 0) {
        return fail(PINTENSOR_EIO, "not a file descriptor");
    }
    struct pt_text out;
    struct pt_held_look look;
    int error = errno; /* in a signal handler it is somebody else's */
    pt_held_look(&look);
    if (ask && look.copy != NULL && pt_python_gil() == PT_PYTHON_HELD && pt_python_quiet()) {
        look.report.held_bys = pt_held_by_find(&look.report, look.copy->held_by);
    }
    pt_text_init(&out, look.text, look.text_size, fd);
    (void)pt_report_send(&look.report, &out, PT_TEXT_PATIENCE / 2, PT_TEXT_PATIENCE);
    pt_held_look_end(&look);
    errno = error;
    return out.failed ? fail(PINTENSOR_EIO, "write() failed") : 0;
}

int pintensor_report(int fd)
{
    return report(fd, false);
}

int pintensor_report_held_by(int fd)
{
    return report(fd, true);
}

const char *pintensor_version(void)
{
    return PINTENSOR_VERSION;
}
