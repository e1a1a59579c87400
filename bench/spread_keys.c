/* What h2load cannot do by itself: another key in each request. It reads the request from its data file with pread,
 * for every request anew; this puts random digits in their place in what it has read.
 *
 * cc -shared -fPIC -O2 -o spread_keys.so spread_keys.c; LD_PRELOAD=.../spread_keys.so SPREAD_AT=18 SPREAD_DIGITS=6 h2load ...
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static ssize_t (*real_pread)(int, void *, size_t, off_t);
static long at = -1, digits;
static uint64_t state = 88172645463325252ULL; /* the same keys, in the same order, for whatever is loaded */

__attribute__((constructor)) static void begin(void) {
  const char *where = getenv("SPREAD_AT"), *count = getenv("SPREAD_DIGITS");
  real_pread = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
  if (where && count) {
    at = atol(where);
    digits = atol(count);
  }
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset) {
  ssize_t got = real_pread(fd, buffer, size, offset);
  if (at >= 0 && offset == 0 && got >= at + digits) {
    state ^= state << 13; /* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
    state ^= state >> 7;
    state ^= state << 17;
    uint64_t rest = state >> 11;
    for (long place = digits; place-- > 0; rest /= 10)
      ((char *)buffer)[at + place] = (char)('0' + rest % 10);
  }
  return got;
}
