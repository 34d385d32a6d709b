/* Trying a bridge in a process of its own, where a crash harms nobody. */
#ifndef PRELOAD_TRIAL_H
#define PRELOAD_TRIAL_H

enum trial_end {
    TRIAL_FITS,
    TRIAL_UNKNOWN, /* it could not be tried from here, which is nothing against it */
    TRIAL_FAILED
};

/* `argv`: the program of try_bridge.cpp, the bridge, and the libraries of torch that it needs. What the program says
 * goes to the file `said`; `lock` as for compile_run(). */
enum trial_end trial_run(const char *const *argv, const char *said, int lock);

#endif
