/* Runs a model once, with markers around the call, on noise. */
#include "bench_marker.h"
#include "model.h"

#include <stdint.h>

static uint64_t arena[(MODEL_ARENA_BYTES + 7u) / 8u + 1u];

int main(void)
{
    model_ctx ctx;
    uint32_t state = 1;
    if (model_init(&ctx, arena, sizeof arena) != MODEL_OK) {
        return 1;
    }
    uint8_t *input = (uint8_t *)model_input_0(&ctx);
    for (uint32_t i = 0; i < MODEL_INPUT_0_BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        input[i] = (uint8_t)(state >> 24);
    }
    bench_begin();
    model_invoke(&ctx);
    bench_end();
    return 0;
}
