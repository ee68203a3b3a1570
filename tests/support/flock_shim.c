/* flock as it is on other file systems: FLOCK_SHIM=noop grants everything, a number is the errno of every call. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int flock(int descriptor, int operation) {
    const char *how = getenv("FLOCK_SHIM");
    (void)descriptor;
    (void)operation;
    if (how == NULL || strcmp(how, "noop") == 0) {
        return 0;
    }
    errno = atoi(how);
    return -1;
}
