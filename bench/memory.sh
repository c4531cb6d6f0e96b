#!/usr/bin/env bash
# Prints the peak of working memory of each model beside its row bound and what others publish:
#   bench/memory.sh [FOLDER_OF_MODELS]      default: $MCUNETC_MODELS, or ../shared/models
# Arenas hold everything: inputs, outputs, activations, scratch. Models with float borders are taken with int8 inputs and
# outputs. kB are 1000 bytes. Peaks of others: see docs/memory.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
models=${1:-${MCUNETC_MODELS:-$here/../../shared/models}}
[ -d "$models" ] || { echo "no models in '$models': name their folder, or set MCUNETC_MODELS" >&2; exit 2; }
cargo build -q --release --manifest-path "$here/../Cargo.toml"
mcunetc=${CARGO_TARGET_DIR:-$here/../target}/release/mcunetc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Arena in bytes for a model and further options, or a dash.
arena() {
    local model=$1
    shift
    rm -rf "$work/out"
    if "$mcunetc" "$models/$model/model.tflite" --io-type=int8 --name model -o "$work/out" "$@" 2>"$work/log"; then
        sed -n 's/^#define MODEL_ARENA_BYTES \([0-9]*\)u$/\1/p' "$work/out/model.h"
    else
        echo -
    fi
}

row() {
    local model=$1 bound=$2 others=$3
    [ -d "$models/$model" ] || return 0
    local rows layers streamed
    rows=$(arena "$model")
    streamed=$(arena "$model" --stream-input)
    layers=$(arena "$model" --pass-pipeline=canonicalize,lower,pack-weights,plan-memory)
    awk -v m="$model" -v r="$rows" -v l="$layers" -v s="$streamed" -v b="$bound" -v o="$others" 'BEGIN {
        printf "| %s | %.1f | %.1f | %s | %+.1f %% | %s | %s |\n", m, l / 1000, r / 1000, b, 100 * (r / 1000 / b - 1),
            s == "-" ? s : sprintf("%.1f", s / 1000), o }'
}

echo "| model | layer by layer, kB | by rows, kB | row bound, kB | distance | streamed input, kB | others, kB |"
echo "|---|---|---|---|---|---|---|"
row te-vww 20.6 "TinyEngine 92, X-CUBE-AI 7.3 113, TFLM 220"
row mcunet-in3 96.1 "X-CUBE-AI 243, TinyEngine 260, TFLM 493"
row mcunet-in4 104.0 "X-CUBE-AI 342, TinyEngine 416"
row mlperf-vww-int8 28.0 "TFLM 99, microTVM 353"
row mlperf-ic-int8 10.9 "TFLM 54, microTVM 247"
row mlperf-kws-int8 8.6 "TFLM 31, microTVM 146"
row te-detection 69.1 ""
row te-mcunetv2-large 239.7 ""
row tflm-person-detect 12.3 ""
row st-mobilenetv2-035-128 51.5 "X-CUBE-AI 8.1 231"
