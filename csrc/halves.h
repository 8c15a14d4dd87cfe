/* The two 16-bit float formats, by their bits: to float32 exactly, and back to nearest even. */
#ifndef DROPKIT_HALVES_H
#define DROPKIT_HALVES_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bits_from_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float f32_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float f32_from_bf16(uint16_t half) { return f32_from_bits((uint32_t)half << 16); }

static inline uint16_t bf16_from_f32(float value) {
    uint32_t bits = bits_from_f32(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return 0x7FC0; /* nan */
    return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

static inline float f32_from_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t rest = half & 0x7FFFu;
    if (rest > 0x7C00u)
        return f32_from_bits(sign | 0x7FC00000u | rest << 13); /* nan */
    if (rest == 0x7C00u)
        return f32_from_bits(sign | 0x7F800000u);
    if (rest >= 0x0400u)
        return f32_from_bits(sign | ((rest << 13) + (112u << 23)));
    return f32_from_bits(sign | bits_from_f32((float)rest * 0x1p-24f)); /* subnormal */
}

static inline uint16_t f16_from_f32(float value) {
    uint32_t bits = bits_from_f32(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t rest = bits & 0x7FFFFFFFu;
    if (rest > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u | (rest >> 13 & 0x1FFu)); /* nan */
    if (rest >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00u); /* 65520 and above round to infinity */
    if (rest < 0x38800000u) /* subnormal: adding 0.5 rounds at 2^-24, the last bit there is */
        return (uint16_t)(sign | (bits_from_f32(f32_from_bits(rest) + 0.5f) - 0x3F000000u));
    return (uint16_t)(sign | ((rest + 0xFFFu + (rest >> 13 & 1u) - (112u << 23)) >> 13));
}

#endif
