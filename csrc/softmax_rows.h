/* The functions of softmax.h, written once for all instruction sets.
 *
 * Whoever includes this has defined `lanes`, a vector of WIDTH floats, the verbs on it that are
 * used below, and INLINE and FUNCTION, which say how functions are made for the instruction set.
 */
#ifndef DROPKIT_SOFTMAX_ROWS_H
#define DROPKIT_SOFTMAX_ROWS_H

#include <math.h>

#include "softmax.h"

enum {
    PARTS = LANES / WIDTH, /* vectors a turn */
    SPELL = 4096           /* elements that are summed in float32, before the rest is in double */
};

/* exp(x) for x <= 88, within 1 ulp; 0 below log(2^-126), where it would not be normal.
 *
 * With n the whole number next to x / ln 2, exp(x) = 2^n exp(r), where r = x - n ln 2 is within
 * +-0.347. ln 2 is split in two as in Cephes (Moshier 1992), so that n times the first is exact.
 * exp(r) is 1 + r + r^2 times a polynomial with the least relative error, 3.1e-9. Adding 1.5 * 2^23
 * rounds to a whole number and leaves it in the lowest bits.
 */
INLINE lanes exponential(lanes x) {
    const lanes magic = splat(12582912.0F);
    const lanes t = add(mul(x, splat(1.44269504F)), magic), n = sub(t, magic);
    const lanes r = sub(sub(x, mul(n, splat(0.693359375F))), mul(n, splat(-2.12194440e-4F)));
    lanes y = splat(1.381446724e-3F);
    y = add(mul(y, r), splat(8.368780836e-3F));
    y = add(mul(y, r), splat(4.166839272e-2F));
    y = add(mul(y, r), splat(1.666651964e-1F));
    y = add(mul(y, r), splat(0.499999940F));
    y = add(add(mul(y, mul(r, r)), r), splat(1.0F));
    return zero_if_less(x, splat(-87.33654F), mul(y, power_of_two(t)));
}

/* The last n < LANES elements of a row, and what does not matter behind them. */
INLINE void load_tail(float *to, const float *x, size_t n, float behind) {
    for (size_t i = 0; i < LANES; i++)
        to[i] = i < n ? x[i] : behind;
}

INLINE void store_tail(float *x, const float *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = from[i];
}

INLINE void raise(lanes top[PARTS], const float *x) {
    for (int part = 0; part < PARTS; part++)
        top[part] = larger(load(x + part * WIDTH), top[part]);
}

FUNCTION float largest(const float *x, size_t n) {
    lanes top[PARTS];
    float turn[LANES], most = -INFINITY;
    size_t i = 0;
    for (int part = 0; part < PARTS; part++)
        top[part] = splat(-INFINITY);
    for (; n - i >= LANES; i += LANES)
        raise(top, x + i);
    if (i < n) {
        load_tail(turn, x + i, n - i, -INFINITY);
        raise(top, turn);
    }
    for (int part = 0; part < PARTS; part++)
        store(turn + part * WIDTH, top[part]);
    for (i = 0; i < LANES; i++)
        most = turn[i] > most ? turn[i] : most;
    return most;
}

INLINE void exponentiate(lanes sum[PARTS], float *x, lanes shift) {
    for (int part = 0; part < PARTS; part++) {
        lanes y = exponential(sub(load(x + part * WIDTH), shift));
        store(x + part * WIDTH, y);
        sum[part] = add(sum[part], y);
    }
}

FUNCTION double exponentials(float *x, size_t n, float shift) {
    double total = 0.0;
    float turn[LANES];
    for (size_t i = 0; i < n;) {
        size_t end = n - i < SPELL ? n : i + SPELL;
        lanes sum[PARTS];
        for (int part = 0; part < PARTS; part++)
            sum[part] = splat(0.0F);
        for (; end - i >= LANES; i += LANES)
            exponentiate(sum, x + i, splat(shift));
        if (i < end) {
            load_tail(turn, x + i, end - i, -INFINITY); /* exp is 0 there */
            exponentiate(sum, turn, splat(shift));
            store_tail(x + i, turn, end - i);
            i = end;
        }
        for (int part = 0; part < PARTS; part++)
            store(turn + part * WIDTH, sum[part]);
        for (int lane = 0; lane < LANES; lane++)
            total += (double)turn[lane];
    }
    return total;
}

INLINE void differentiate(float *x, float *grad, const float *keep, lanes shift, lanes mean) {
    for (int at = 0; at < LANES; at += WIDTH) {
        lanes p = exponential(sub(load(x + at), shift)), scale = load(keep + at);
        store(x + at, zero_if_zero(scale, mul(p, scale)));
        store(grad + at, mul(p, sub(zero_if_zero(scale, mul(load(grad + at), scale)), mean)));
    }
}

FUNCTION void gradients(float *x, float *grad, const float *keep, size_t n, float shift,
                        float mean) {
    size_t i = 0;
    for (; n - i >= LANES; i += LANES)
        differentiate(x + i, grad + i, keep + i, splat(shift), splat(mean));
    if (i < n) {
        float x_turn[LANES], grad_turn[LANES], keep_turn[LANES];
        load_tail(x_turn, x + i, n - i, 0.0F);
        load_tail(grad_turn, grad + i, n - i, 0.0F);
        load_tail(keep_turn, keep + i, n - i, 0.0F);
        differentiate(x_turn, grad_turn, keep_turn, splat(shift), splat(mean));
        store_tail(x + i, x_turn, n - i);
        store_tail(grad + i, grad_turn, n - i);
    }
}

#endif
