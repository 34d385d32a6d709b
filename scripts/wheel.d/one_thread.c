/* libstdc++'s headers ask glibc whether there is one thread, which glibc tells from 2.32 on. A bridge always says: no.
 */
__attribute__((visibility("hidden"))) char __libc_single_threaded;
