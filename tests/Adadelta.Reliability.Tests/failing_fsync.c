/* Loaded before the C library: fsync works as often as ADADELTA_FSYNC_WORKS says, then fails as a disk that is dying does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

static int fails(void) {
  static atomic_int calls;
  const char* works = getenv("ADADELTA_FSYNC_WORKS");
  if (works == NULL || atomic_fetch_add(&calls, 1) < atoi(works)) return 0;
  errno = EIO;
  return 1;
}

int fsync(int file) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return fails() ? -1 : next(file);
}

int fdatasync(int file) {
  int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return fails() ? -1 : next(file);
}
