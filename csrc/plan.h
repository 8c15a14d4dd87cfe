/* What all blocks of a run share, so that a wide kernel computes it once.
 *
 * Of a block's counter only the low word of the block number varies within a run. So round 1 has
 * one product that varies, and from block to block that grows by M0: an addition. Round 2 has one
 * too; from round 3 on both vary.
 */
#ifndef DROPKIT_PLAN_H
#define DROPKIT_PLAN_H

#include "kernel.h"
#include "philox.h"

struct plan {
    uint64_t product;   /* M0 * low word of the first block; its low half is c3 after 1 */
    uint32_t round1_c2; /* after round 1, c2 = high(product) ^ this */
    uint32_t round2_c0, round2_c2; /* after round 2, c0 = high(M1 * c2) ^ this, c2 = c3 ^ this */
    uint32_t round2_c3;            /* and c3 = this */
    uint32_t k0, k1;
};

/* The keys of a round, the first of which is 1. */
static inline uint32_t key0(const struct plan *plan, int round) {
    return plan->k0 + (uint32_t)(round - 1) * PHILOX_W0;
}
static inline uint32_t key1(const struct plan *plan, int round) {
    return plan->k1 + (uint32_t)(round - 1) * PHILOX_W1;
}

static inline void make_plan(struct plan *plan, uint64_t first_block, const struct dk_draw *draw) {
    uint32_t c1 = high32(first_block), c2 = low32(draw->stream), c3 = high32(draw->stream);
    plan->k0 = low32(draw->key);
    plan->k1 = high32(draw->key);
    uint64_t p1 = (uint64_t)PHILOX_M1 * c2;
    uint64_t p0 = (uint64_t)PHILOX_M0 * (high32(p1) ^ c1 ^ key0(plan, 1));
    plan->product = (uint64_t)PHILOX_M0 * low32(first_block);
    plan->round1_c2 = c3 ^ key1(plan, 1);
    plan->round2_c0 = low32(p1) ^ key0(plan, 2);
    plan->round2_c2 = high32(p0) ^ key1(plan, 2);
    plan->round2_c3 = low32(p0);
}

#endif
