/* Softmax for AVX-512: 16 floats a register. */
#include "softmax.h"

#if defined(DK_HAS_AVX512)

#include <immintrin.h>

/* For the functions, not for the file: it needs no flags of its own. */
#define FUNCTION static __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline, target("avx512f")))

enum { WIDTH = 16 };
typedef __m512 lanes;

INLINE lanes load(const float *x) { return _mm512_loadu_ps(x); }
INLINE void store(float *x, lanes v) { _mm512_storeu_ps(x, v); }
INLINE lanes splat(float x) { return _mm512_set1_ps(x); }
INLINE lanes add(lanes a, lanes b) { return _mm512_add_ps(a, b); }
INLINE lanes sub(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
INLINE lanes mul(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
INLINE lanes larger(lanes a, lanes b) { return _mm512_max_ps(a, b); } /* b where one is nan */
INLINE lanes zero_if_less(lanes x, lanes bound, lanes v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, bound, _CMP_NLT_UQ), v);
}
INLINE lanes zero_if_zero(lanes x, lanes v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ), v);
}

/* 2^n, with n in the lowest bits of `t`. */
INLINE lanes power_of_two(lanes t) {
    __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(0x3F800000)));
}

#include "softmax_rows.h"

const struct dk_softmax dk_softmax_avx512 = {largest, exponentials, gradients};

#else
typedef int dk_softmax_avx512_is_not_in_this_build; /* ISO C forbids an empty file */
#endif
