//! Helper functions of the generated source: only those that the model uses are printed.
//!
//! Each is the operation of the `loop` dialect of nearly the same name; `ir/src/loops/eval.rs` is the specification.

use super::assembly::Routine;
use super::{depthwise, matmul};
use std::collections::BTreeSet;

/// A helper: its name, helpers it needs, and its text.
struct Helper {
    name: &'static str,
    needs: &'static [&'static str],
    text: &'static str,
}

/// A helper that widens eights of elements by one block of assembly, and the rest as `widen_rest` does: its name, where words
/// go, by how many words they are apart, by how many bytes eights are, and where the second to fourth word of one goes, in bytes
/// before the next.
macro_rules! widen_eights {
    ($name:literal, $where:literal, $step:literal, $eight:literal, $second:literal, $third:literal, $fourth:literal) => {
        Helper {
            name: $name,
            needs: &["widen_rest"],
            text: concat!(
                "/* As widen_rest, ",
                $where,
                ". */\nstatic inline void ",
                $name,
                "(const int8_t *from, int16_t *to, int32_t count, int32_t zero_point)
{
#if HAS_DSP
    const int8_t *const end = from + (count & ~7);
    const uint32_t base = splat_lanes(-zero_point);
    while (from != end) {
        uint32_t a, b, c, d;
        __asm__(\"ldr.w %2, [%0], #8\\n\\tldr.w %3, [%0, #-4]\\n\\t\"
                \"sxtab16 %4, %6, %2, ror #8\\n\\tsxtab16 %2, %6, %2\\n\\tsxtab16 %5, %6, %3, ror #8\\n\\tsxtab16 %3, %6, %3\\n\\t\"
                \"str.w %2, [%1], #",
                $eight,
                "\\n\\tstr.w %4, [%1, #-",
                $second,
                "]\\n\\tstr.w %3, [%1, #-",
                $third,
                "]\\n\\tstr.w %5, [%1, #-",
                $fourth,
                "]\"
                : \"+r\"(from), \"+r\"(to), \"=&r\"(a), \"=&r\"(b), \"=&r\"(c), \"=&r\"(d)
                : \"r\"(base)
                : \"memory\");
    }
    count &= 7;
#endif
    widen_rest(from, to, count, ",
                $step,
                ", zero_point);
}
"
            ),
        }
    };
}

/// A helper that is called instead of copied into every layer.
macro_rules! widen_called {
    ($name:literal) => {
        Helper {
            name: concat!($name, "_any"),
            needs: &[$name, "called"],
            text: concat!(
                "/* As ",
                $name,
                ", for any number of elements: one copy of the code. */\nCALLED static void ",
                $name,
                "_any(const int8_t *from, int16_t *to, int32_t count, int32_t zero_point)\n{\n    ",
                $name,
                "(from, to, count, zero_point);\n}\n"
            ),
        }
    };
}

/// Whether the DSP extension is at hand.
const DSP: &str = "/* The DSP extension of Armv7E-M and Armv8-M. */
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__thumb__)
#define HAS_DSP 1
#include <arm_acle.h>
#else
#define HAS_DSP 0
#endif

";

const HELPERS: &[Helper] = &[
    Helper {
        name: "rolled",
        needs: &[],
        text: "/* Keeps a loop as it is: compilers that unroll it run out of registers. */
#if defined(__clang__)
#define ROLLED _Pragma(\"clang loop unroll(disable)\")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define ROLLED _Pragma(\"GCC unroll 1\")
#else
#define ROLLED
#endif
",
    },
    Helper {
        name: "called",
        needs: &[],
        text: "/* A function that compilers are not to copy to where it is called. */
#if defined(__GNUC__)
#define CALLED __attribute__((noinline))
#else
#define CALLED
#endif
",
    },
    Helper {
        name: "min_i32",
        needs: &[],
        text: "static inline int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}
",
    },
    Helper {
        name: "max_i32",
        needs: &[],
        text: "static inline int32_t max_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}
",
    },
    Helper {
        name: "min_i64",
        needs: &[],
        text: "static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
",
    },
    Helper {
        name: "max_i64",
        needs: &[],
        text: "static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
",
    },
    Helper {
        name: "min_f32",
        needs: &[],
        text: "static inline float min_f32(float a, float b)
{
    return a < b ? a : b;
}
",
    },
    Helper {
        name: "max_f32",
        needs: &[],
        text: "static inline float max_f32(float a, float b)
{
    return a > b ? a : b;
}
",
    },
    Helper {
        name: "add_wrap",
        needs: &[],
        text: "/* Sum modulo 2^32. */
static inline int32_t add_wrap(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}
",
    },
    Helper {
        name: "sub_wrap",
        needs: &[],
        text: "/* Difference modulo 2^32. */
static inline int32_t sub_wrap(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}
",
    },
    Helper {
        name: "mul_wrap",
        needs: &[],
        text: "/* Product modulo 2^32. */
static inline int32_t mul_wrap(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}
",
    },
    Helper {
        name: "add_wrap_i64",
        needs: &[],
        text: "static inline int64_t add_wrap_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
",
    },
    Helper {
        name: "sub_wrap_i64",
        needs: &[],
        text: "static inline int64_t sub_wrap_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
",
    },
    Helper {
        name: "mul_wrap_i64",
        needs: &[],
        text: "static inline int64_t mul_wrap_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
",
    },
    Helper {
        name: "div_i32",
        needs: &[],
        text: "/* Quotient rounded toward zero; 0 for a zero divisor. */
static inline int32_t div_i32(int32_t a, int32_t b)
{
    if (b == 0) {
        return 0;
    }
    return b == -1 ? (int32_t)(0u - (uint32_t)a) : a / b;
}
",
    },
    Helper {
        name: "rem_i32",
        needs: &[],
        text: "/* Remainder with the dividend's sign; 0 for a zero divisor. */
static inline int32_t rem_i32(int32_t a, int32_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}
",
    },
    Helper {
        name: "div_i64",
        needs: &[],
        text: "/* Quotient rounded toward zero; 0 for a zero divisor. */
static inline int64_t div_i64(int64_t a, int64_t b)
{
    if (b == 0) {
        return 0;
    }
    return b == -1 ? (int64_t)(0u - (uint64_t)a) : a / b;
}
",
    },
    Helper {
        name: "rem_i64",
        needs: &[],
        text: "/* Remainder with the dividend's sign; 0 for a zero divisor. */
static inline int64_t rem_i64(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}
",
    },
    Helper {
        name: "count_leading_zeros",
        needs: &[],
        text: "static inline int32_t count_leading_zeros(int32_t x)
{
    uint32_t bits = (uint32_t)x;
    int32_t count = 0;
    if (bits == 0u) {
        return 32;
    }
#if defined(__GNUC__)
    count = __builtin_clz(bits);
#else
    while ((bits & 0x80000000u) == 0u) {
        bits <<= 1;
        count++;
    }
#endif
    return count;
}
",
    },
    Helper {
        name: "float_bits",
        needs: &[],
        text: "static inline int32_t float_bits(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
",
    },
    Helper {
        name: "bits_float",
        needs: &[],
        text: "static inline float bits_float(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
",
    },
    Helper {
        name: "float_to_int",
        needs: &[],
        text: "/* Toward zero, saturating; 0 for NaN. */
static inline int32_t float_to_int(float x)
{
    if (x >= 2147483648.0f) {
        return INT32_MAX;
    }
    if (x <= -2147483648.0f) {
        return INT32_MIN;
    }
    return x == x ? (int32_t)x : 0;
}
",
    },
    Helper {
        name: "round_trunc",
        needs: &[],
        text: "/* To an integer toward zero; numbers beyond 2^23 are integers already. */
static inline float round_trunc(float x)
{
    return x > -8388608.0f && x < 8388608.0f ? (float)(int32_t)x : x;
}
",
    },
    Helper {
        name: "round_half_away",
        needs: &["round_trunc"],
        text: "/* To the nearest integer, ties away from zero. */
static inline float round_half_away(float x)
{
    const float whole = round_trunc(x);
    const float rest = x - whole;
    if (rest >= 0.5f) {
        return whole + 1.0f;
    }
    return rest <= -0.5f ? whole - 1.0f : whole;
}
",
    },
    Helper {
        name: "round_half_even",
        needs: &["round_trunc"],
        text: "/* To the nearest integer, ties to even. */
static inline float round_half_even(float x)
{
    const float whole = round_trunc(x);
    const float rest = x - whole;
    const bool odd = whole > -8388608.0f && whole < 8388608.0f && ((int32_t)whole & 1) != 0;
    if (rest > 0.5f || (rest >= 0.5f && odd)) {
        return whole + 1.0f;
    }
    return rest < -0.5f || (rest <= -0.5f && odd) ? whole - 1.0f : whole;
}
",
    },
    Helper {
        name: "round_floor",
        needs: &["round_trunc"],
        text: "/* To an integer toward negative infinity. */
static inline float round_floor(float x)
{
    const float whole = round_trunc(x);
    return whole > x ? whole - 1.0f : whole;
}
",
    },
    Helper {
        name: "square_root",
        needs: &["float_bits", "bits_float"],
        text: "/* Correctly rounded square root, by digits: no library is needed. */
static inline float square_root(float x)
{
    int32_t bits = float_bits(x);
    int32_t exponent = (bits >> 23) & 0xff;
    uint32_t fraction = (uint32_t)bits & 0x7fffffu;
    if (!(x > 0.0f) || exponent == 0xff) {
        return x == 0.0f || x > 0.0f || x != x ? x : bits_float(0x7fc00000);
    }
    if (exponent == 0) {
        exponent = 1;
        while ((fraction & 0x800000u) == 0u) {
            fraction <<= 1;
            exponent--;
        }
    }
    fraction |= 0x800000u;
    exponent -= 127;
    if ((exponent & 1) != 0) {
        fraction <<= 1;
    }
    /* 25 digits of the root: one more than the result has, to round. */
    uint64_t rest = (uint64_t)fraction << 25;
    uint64_t root = 0;
    for (uint64_t digit = (uint64_t)1 << 48; digit != 0u; digit >>= 2) {
        if (rest >= root + digit) {
            rest -= root + digit;
            root = (root >> 1) + digit;
        } else {
            root >>= 1;
        }
    }
    const int32_t result = (int32_t)((root + 1u) >> 1) - 0x800000;
    return bits_float((((exponent >> 1) + 127) << 23) + result);
}
",
    },
    Helper {
        name: "doubling_high_mul",
        needs: &["dsp"],
        text: "/* High half of twice the product, rounded; saturates for the one product that overflows. */
static inline int32_t doubling_high_mul(int32_t a, int32_t b)
{
#if HAS_DSP
    if (b >= 0x40000000) {
        int32_t result;
        __asm__(\"smmlar %0, %1, %2, %1\" : \"=r\"(result) : \"r\"(a), \"r\"((int32_t)((uint32_t)b << 1)));
        return result;
    }
#endif
    if (a == INT32_MIN && b == INT32_MIN) {
        return INT32_MAX;
    }
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}
",
    },
    Helper {
        name: "mul_add_high",
        needs: &["dsp"],
        text: "/* sum + x * y / 2^32, the quotient rounded, modulo 2^32. */
static inline int32_t mul_add_high(int32_t x, int32_t y, int32_t sum)
{
#if HAS_DSP
    int32_t result;
    __asm__(\"smmlar %0, %1, %2, %3\" : \"=r\"(result) : \"r\"(x), \"r\"(y), \"r\"(sum));
    return result;
#elif defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
    /* Without long multiplications, of halves; the sums in the middle just fit. */
    const int32_t x_low = x & 0xffff;
    const int32_t y_low = y & 0xffff;
    const int32_t x_high = x >> 16;
    const int32_t y_high = y >> 16;
    const uint32_t low = (uint32_t)x_low * (uint32_t)y_low;
    const int32_t middle = x_high * y_low + (int32_t)(low >> 16) + 0x8000;
    const int32_t other = x_low * y_high + (middle & 0xffff);
    return (int32_t)((uint32_t)sum + (uint32_t)(x_high * y_high + (middle >> 16) + (other >> 16)));
#else
    const int64_t product = (int64_t)x * y + ((int64_t)1 << 31);
    return (int32_t)((uint32_t)sum + (uint32_t)(uint64_t)(product >> 32));
#endif
}
",
    },
    Helper {
        name: "round_shift",
        needs: &[],
        text: "/* x / 2^distance, rounded to the nearest, ties away from zero. */
static inline int32_t round_shift(int32_t x, int32_t distance)
{
    const int32_t mask = (int32_t)((1u << distance) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> distance) + ((x & mask) > threshold ? 1 : 0);
}
",
    },
    Helper {
        name: "requantize",
        needs: &["doubling_high_mul", "round_shift"],
        text: "/* x * multiplier * 2^(shift - 31), rounded twice. */
static inline int32_t requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return round_shift(doubling_high_mul((int32_t)((uint32_t)x << left), multiplier), right);
}
",
    },
    Helper {
        name: "saturate_8",
        needs: &[],
        text: "/* Limits x to -128 to 127. */
static inline int32_t saturate_8(int32_t x)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT) && defined(__thumb__)
    int32_t result;
    __asm__(\"ssat %0, #8, %1\" : \"=r\"(result) : \"r\"(x));
    return result;
#else
    return x < -128 ? -128 : (x > 127 ? 127 : x);
#endif
}
",
    },
    Helper {
        name: "saturate",
        needs: &[],
        text: "/* Limits x to a signed integer of the given number of bits. */
static inline int32_t saturate(int32_t x, int32_t bits)
{
    const int32_t high = (int32_t)((1u << (bits - 1)) - 1u);
    const int32_t low = -high - 1;
    return x < low ? low : (x > high ? high : x);
}
",
    },
    Helper {
        name: "load_i8x4",
        needs: &[],
        text: "/* Four neighbouring bytes. */
static inline uint32_t load_i8x4(const int8_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
",
    },
    Helper {
        name: "load_i16x2",
        needs: &[],
        text: "/* Two neighbouring 16-bit integers. */
static inline uint32_t load_i16x2(const int16_t *from)
{
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}
",
    },
    Helper {
        name: "splat_lanes",
        needs: &[],
        text: "/* The low 16 bits of x in both halves. */
static inline uint32_t splat_lanes(int32_t x)
{
    return ((uint32_t)x & 0xffffu) * 0x10001u;
}
",
    },
    Helper {
        name: "sign_extend_lanes",
        needs: &[],
        text: "/* Bytes 0 and 2 as 16-bit integers. */
static inline uint32_t sign_extend_lanes(uint32_t x)
{
    const uint32_t low = (uint32_t)(int32_t)(int8_t)(x & 0xffu) & 0xffffu;
    const uint32_t high = (uint32_t)(int32_t)(int8_t)((x >> 16) & 0xffu) & 0xffffu;
    return low | (high << 16);
}
",
    },
    Helper {
        name: "extend_even",
        needs: &["dsp", "sign_extend_lanes"],
        text: "static inline uint32_t extend_even(uint32_t x)
{
#if HAS_DSP
    return (uint32_t)__sxtb16((int8x4_t)x);
#else
    return sign_extend_lanes(x);
#endif
}
",
    },
    Helper {
        name: "extend_odd",
        needs: &["dsp", "sign_extend_lanes"],
        text: "/* Bytes 1 and 3 as 16-bit integers. */
static inline uint32_t extend_odd(uint32_t x)
{
#if HAS_DSP
    uint32_t result;
    __asm__(\"sxtb16 %0, %1, ror #8\" : \"=r\"(result) : \"r\"(x));
    return result;
#else
    return sign_extend_lanes(x >> 8);
#endif
}
",
    },
    Helper {
        name: "add_lanes",
        needs: &[],
        text: "static inline uint32_t add_lanes(uint32_t a, uint32_t b)
{
    return ((a + b) & 0xffffu) | (((a & 0xffff0000u) + (b & 0xffff0000u)) & 0xffff0000u);
}
",
    },
    Helper {
        name: "extend_add_even",
        needs: &["dsp", "sign_extend_lanes", "add_lanes"],
        text: "/* Bytes 0 and 2 of x added to the halves of base. */
static inline uint32_t extend_add_even(uint32_t base, uint32_t x)
{
#if HAS_DSP
    return (uint32_t)__sxtab16((int16x2_t)base, (int8x4_t)x);
#else
    return add_lanes(base, sign_extend_lanes(x));
#endif
}
",
    },
    Helper {
        name: "extend_add_odd",
        needs: &["dsp", "sign_extend_lanes", "add_lanes"],
        text: "/* Bytes 1 and 3 of x added to the halves of base. */
static inline uint32_t extend_add_odd(uint32_t base, uint32_t x)
{
#if HAS_DSP
    uint32_t result;
    __asm__(\"sxtab16 %0, %1, %2, ror #8\" : \"=r\"(result) : \"r\"(base), \"r\"(x));
    return result;
#else
    return add_lanes(base, sign_extend_lanes(x >> 8));
#endif
}
",
    },
    Helper {
        name: "dual_mac",
        needs: &["dsp"],
        text: "/* sum + a.low * b.low + a.high * b.high, modulo 2^32. */
static inline int32_t dual_mac(uint32_t a, uint32_t b, int32_t sum)
{
#if HAS_DSP
    return (int32_t)__smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
    const int32_t low = (int32_t)(int16_t)(a & 0xffffu) * (int32_t)(int16_t)(b & 0xffffu);
    const int32_t high = (int32_t)(int16_t)(a >> 16) * (int32_t)(int16_t)(b >> 16);
    return (int32_t)((uint32_t)sum + (uint32_t)low + (uint32_t)high);
#endif
}
",
    },
    Helper {
        name: "mac_low_low",
        needs: &["dsp"],
        text: "/* sum + a.low * b.low, modulo 2^32. */
static inline int32_t mac_low_low(uint32_t a, uint32_t b, int32_t sum)
{
#if HAS_DSP
    return __smlabb((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int32_t)(int16_t)(a & 0xffffu) * (int32_t)(int16_t)(b & 0xffffu)));
#endif
}
",
    },
    Helper {
        name: "mac_low_high",
        needs: &["dsp"],
        text: "/* sum + a.low * b.high, modulo 2^32. */
static inline int32_t mac_low_high(uint32_t a, uint32_t b, int32_t sum)
{
#if HAS_DSP
    return __smlabt((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int32_t)(int16_t)(a & 0xffffu) * (int32_t)(int16_t)(b >> 16)));
#endif
}
",
    },
    Helper {
        name: "mac_high_low",
        needs: &["dsp"],
        text: "/* sum + a.high * b.low, modulo 2^32. */
static inline int32_t mac_high_low(uint32_t a, uint32_t b, int32_t sum)
{
#if HAS_DSP
    return __smlatb((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int32_t)(int16_t)(a >> 16) * (int32_t)(int16_t)(b & 0xffffu)));
#endif
}
",
    },
    Helper {
        name: "mac_high_high",
        needs: &["dsp"],
        text: "/* sum + a.high * b.high, modulo 2^32. */
static inline int32_t mac_high_high(uint32_t a, uint32_t b, int32_t sum)
{
#if HAS_DSP
    return __smlatt((int32_t)a, (int32_t)b, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)((int32_t)(int16_t)(a >> 16) * (int32_t)(int16_t)(b >> 16)));
#endif
}
",
    },
    Helper {
        name: "store_i16x2",
        needs: &[],
        text: "static inline void store_i16x2(int16_t *to, uint32_t lanes)
{
    memcpy(to, &lanes, sizeof lanes);
}
",
    },
    Helper {
        name: "widen_rest",
        needs: &["splat_lanes", "load_i8x4", "store_i16x2", "extend_add_even", "extend_add_odd"],
        text: "/* Inputs less their zero point, in words of two: 0 and 2, 1 and 3, and so on; each `step` words further. */
static inline void widen_rest(const int8_t *from, int16_t *to, int32_t count, int32_t step, int32_t zero_point)
{
    const uint32_t base = splat_lanes(-zero_point);
    for (; count >= 4; count -= 4) {
        const uint32_t word = load_i8x4(from);
        store_i16x2(to, extend_add_even(base, word));
        store_i16x2(to + 2 * step, extend_add_odd(base, word));
        from += 4;
        to += 4 * step;
    }
    if (count > 0) {
        const int32_t last = count == 1 ? 0 : from[count - 1] - zero_point;
        to[0] = (int16_t)(from[0] - zero_point);
        to[1] = (int16_t)last;
    }
    if (count == 3) {
        to[2 * step] = (int16_t)(from[1] - zero_point);
        to[2 * step + 1] = 0;
    }
}
",
    },
    widen_eights!("widen_next", "each word after the one before", 1, "16", "12", "8", "4"),
    widen_eights!("widen_alternating", "every other word", 2, "32", "24", "16", "8"),
    widen_called!("widen_next"),
    widen_called!("widen_alternating"),
    Helper {
        name: "widen_part",
        needs: &["splat_lanes", "load_i8x4", "store_i16x2", "extend_add_even", "extend_add_odd"],
        text: "/* As widen_rest, with zeros for elements before number `first` or from number `end` on. */
static inline void widen_part(const int8_t *memory, int32_t from, int32_t first, int32_t end, int16_t *to, int32_t count,
                              int32_t step, int32_t zero_point)
{
    const uint32_t base = splat_lanes(-zero_point);
    for (int32_t i = 0; i < count; i += 4) {
        uint32_t even = 0;
        uint32_t odd = 0;
        if (first <= i && i + 4 <= end) {
            const uint32_t word = load_i8x4(&memory[from + i]);
            even = extend_add_even(base, word);
            odd = extend_add_odd(base, word);
        } else {
            for (int32_t j = i > first ? i : first; j < i + 4 && j < end; j++) {
                const uint32_t x = (uint32_t)(memory[from + j] - zero_point) & 0xffffu;
                const bool second = j - i >= 2 || (j - i == 1 && count - i == 2);
                const uint32_t lane = second ? x << 16 : x;
                if (j - i == 3 || (j - i == 1 && count - i != 2)) {
                    odd |= lane;
                } else {
                    even |= lane;
                }
            }
        }
        store_i16x2(&to[i * step], even);
        if (count - i > 2) {
            store_i16x2(&to[(i + 2) * step], odd);
        }
    }
}
",
    },
    Helper {
        name: "naked",
        needs: &["dsp"],
        text: "/* Functions in assembly: compilers that could take a function for what its C says are told not to look at it. */
#if HAS_DSP && defined(__clang__)
#define HAS_NAKED 1
#define NAKED __attribute__((naked, noinline))
#define UNUSED __attribute__((unused))
#elif HAS_DSP && __GNUC__ >= 8
#define HAS_NAKED 1
#define NAKED __attribute__((naked, noipa))
#define UNUSED __attribute__((unused))
#else
#define HAS_NAKED 0
#define UNUSED
#endif
",
    },
    Helper {
        name: "matmul_rows",
        needs: &["naked", "load_i8x4", "load_i16x2", "dual_mac", "sign_extend_lanes", "add_lanes", "add_wrap", "sub_wrap", "mul_add_high", "saturate_8", "min_i32", "max_i32"],
        text: matmul::IN_C,
    },
    Helper {
        name: "depthwise_row",
        needs: &["naked", "add_wrap", "mul_add_high", "saturate_8", "min_i32", "max_i32"],
        text: depthwise::IN_C,
    },
];

/// The helpers that are used, with those they need, in a fixed order.
pub fn text(used: &BTreeSet<&'static str>, routines: &BTreeSet<Routine>) -> String {
    let mut wanted: BTreeSet<&str> = used.clone();
    wanted.extend(routines.iter().map(Routine::fallback));
    // Helpers are listed after those they need, so one pass from the end finds all.
    for helper in HELPERS.iter().rev() {
        if wanted.contains(helper.name) {
            wanted.extend(helper.needs);
        }
    }
    let mut out = String::new();
    if wanted.contains("dsp") {
        out.push_str(DSP);
    }
    for helper in HELPERS.iter().filter(|helper| wanted.contains(helper.name)) {
        out.push_str(helper.text);
        out.push('\n');
    }
    out.extend(routines.iter().map(Routine::text));
    out
}
