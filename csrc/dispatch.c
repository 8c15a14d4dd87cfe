/* Which kernels run: one table, widest first, and one choice held in an atomic. */
#include <stdatomic.h>
#include <string.h>

#include "dispatch.h"

static const struct dk_isa *const ISAS[] = {
#if defined(DK_HAS_AVX512)
    &dk_avx512,
#endif
#if defined(__x86_64__)
    &dk_avx2,
#endif
#if defined(DK_HAS_NEON)
    &dk_neon,
#endif
    &dk_portable, /* last, and always usable */
};
enum { N_ISAS = sizeof ISAS / sizeof ISAS[0] };

static _Atomic(const struct dk_isa *) active;

const struct dk_isa *dk_active(void) {
    const struct dk_isa *isa = atomic_load_explicit(&active, memory_order_relaxed);
    for (size_t i = 0; isa == NULL; i++) /* two threads that race here choose the same */
        if (ISAS[i]->usable()) {
            isa = ISAS[i];
            atomic_store_explicit(&active, isa, memory_order_relaxed);
        }
    return isa;
}

int dk_abi(void) { return DK_ABI; }

const char *dk_isa_name(size_t index) { return index < N_ISAS ? ISAS[index]->name : NULL; }

int dk_isa_usable(size_t index) { return index < N_ISAS && ISAS[index]->usable(); }

const char *dk_isa_active(void) { return dk_active()->name; }

enum dk_status dk_isa_force(const char *name) {
    for (size_t i = 0; i < N_ISAS; i++)
        if (strcmp(ISAS[i]->name, name) == 0) {
            if (!ISAS[i]->usable())
                return DK_ABSENT_ISA;
            atomic_store_explicit(&active, ISAS[i], memory_order_relaxed);
            return DK_OK;
        }
    return DK_UNKNOWN_ISA;
}
