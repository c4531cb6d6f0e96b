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
    local model=$1 bound=$2 streamed_bound=$3 others=$4
    [ -d "$models/$model" ] || return 0
    local rows layers streamed
    rows=$(arena "$model")
    streamed=$(arena "$model" --stream-input)
    layers=$(arena "$model" --pass-pipeline=canonicalize,fuse,eliminate-dead-channels,lower,pack-weights,plan-memory)
    awk -v m="$model" -v r="$rows" -v l="$layers" -v s="$streamed" -v b="$bound" -v t="$streamed_bound" -v o="$others" '
        function kb(bytes) { return bytes == "-" ? bytes : sprintf("%.1f", bytes / 1000) }
        function distance(bytes, bound) {
            return bytes == "-" || bound == "-" ? "-" : sprintf("%+.1f %%", 100 * (bytes / 1000 / bound - 1))
        }
        BEGIN {
            printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", m, kb(l), kb(r), b, distance(r, b), kb(s), t,
                distance(s, t), o
        }'
}

echo "| model | layer by layer | by rows | row bound | distance | streamed | its bound | distance | others |"
echo "|---|---|---|---|---|---|---|---|---|"
row te-vww 20.6 13.8 "TinyEngine 92, X-CUBE-AI 7.3 113, TFLM 220"
row mcunet-in3 96.1 59.1 "X-CUBE-AI 243, TinyEngine 260, TFLM 493"
row mcunet-in4 104.0 69.4 "X-CUBE-AI 342, TinyEngine 416"
row mlperf-vww-int8 28.0 10.3 "TFLM 99, microTVM 353"
row mlperf-ic-int8 10.9 10.9 "TFLM 54, microTVM 247"
row mlperf-kws-int8 8.6 8.6 "TFLM 31, microTVM 146"
row te-detection 69.1 21.3 ""
row te-mcunetv2-large 239.7 - ""
row tflm-person-detect 12.3 10.1 ""
row st-mobilenetv2-035-128 51.5 21.8 "X-CUBE-AI 8.1 231"

# What it takes to compute a part of the network twice.
if [ -d "$models/te-mcunetv2-large" ]; then
    arena te-mcunetv2-large --sram=200kB >/dev/null
    echo
    echo "te-mcunetv2-large with --sram=200kB: $(sed 's/^.*: arena/arena/' "$work/log")"
fi
for model in te-vww mcunet-in3; do
    [ -d "$models/$model" ] || continue
    echo
    echo "$model with --stream-input=again --pareto:"
    "$mcunetc" "$models/$model/model.tflite" --io-type=int8 --stream-input=again --pareto -o "$work/out" 2>/dev/null
done
