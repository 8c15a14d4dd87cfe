/* Philox4x32-7, one block at a time: the readable form that every fast form must equal. */
#ifndef DROPKIT_PHILOX_H
#define DROPKIT_PHILOX_H

#include <stdint.h>

enum { PHILOX_ROUNDS = 7, HALFWORDS = 8 /* a block */ };

#define PHILOX_M0 UINT32_C(0xD2511F53)
#define PHILOX_M1 UINT32_C(0xCD9E8D57)
#define PHILOX_W0 UINT32_C(0x9E3779B9)
#define PHILOX_W1 UINT32_C(0xBB67AE85)

static inline uint32_t low32(uint64_t v) { return (uint32_t)v; }
static inline uint32_t high32(uint64_t v) { return (uint32_t)(v >> 32); }

static inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c[0];
        uint64_t p1 = (uint64_t)PHILOX_M1 * c[2];
        c[0] = high32(p1) ^ c[1] ^ k0;
        c[1] = low32(p1);
        c[2] = high32(p0) ^ c[3] ^ k1;
        c[3] = low32(p0);
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
}

#endif
