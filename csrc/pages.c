/* Large results in large pages.
 *
 * The memory of a large result is new: the system hands out each page when it is first written, and
 * in pages of 4 KiB that takes several times as long as dropout does. Where the system leaves the
 * choice to programs ("madvise" in /sys/kernel/mm/transparent_hugepage/enabled), we ask for large
 * ones. Only where the memory is a mapping by itself, which ends with the tensor: glibc maps each
 * block of at least 32 MiB so. Elsewhere the wish would stay behind in the allocator's heap.
 */
#define _DEFAULT_SOURCE /* madvise is not in POSIX */

#include "pages.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(MADV_HUGEPAGE)

#include <stdint.h>

enum { ALONE = 32 << 20 /* bytes: DEFAULT_MMAP_THRESHOLD_MAX of glibc */, PAGE = 2 << 20 };

void dk_will_fill(void *memory, size_t bytes) {
    if (bytes < ALONE)
        return;
    size_t skip = -(uintptr_t)memory % PAGE;
    (void)madvise((char *)memory + skip, (bytes - skip) / PAGE * PAGE, MADV_HUGEPAGE); /* a wish */
}

#else

void dk_will_fill(void *memory, size_t bytes) {
    (void)memory;
    (void)bytes;
}

#endif
