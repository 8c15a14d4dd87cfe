/* Softmax for AVX2: 8 floats a register. */
#if defined(__x86_64__)

#include <immintrin.h>

/* For the functions, not for the file: it needs no flags of its own. */
#define FUNCTION static __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline, target("avx2")))

enum { WIDTH = 8 };
typedef __m256 lanes;

INLINE lanes load(const float *x) { return _mm256_loadu_ps(x); }
INLINE void store(float *x, lanes v) { _mm256_storeu_ps(x, v); }
INLINE lanes splat(float x) { return _mm256_set1_ps(x); }
INLINE lanes add(lanes a, lanes b) { return _mm256_add_ps(a, b); }
INLINE lanes sub(lanes a, lanes b) { return _mm256_sub_ps(a, b); }
INLINE lanes mul(lanes a, lanes b) { return _mm256_mul_ps(a, b); }
INLINE lanes larger(lanes a, lanes b) { return _mm256_max_ps(a, b); } /* b where one is nan */
INLINE lanes zero_if_less(lanes x, lanes bound, lanes v) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, bound, _CMP_LT_OQ), v);
}
INLINE lanes zero_if_zero(lanes x, lanes v) {
    return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ), v);
}

/* 2^n, with n in the lowest bits of `t`. */
INLINE lanes power_of_two(lanes t) {
    __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3F800000)));
}

#include "softmax_rows.h"

const struct dk_softmax dk_softmax_avx2 = {largest, exponentials, gradients};

#else
typedef int dk_softmax_avx2_is_for_x86_64; /* ISO C forbids an empty file */
#endif
