#!/usr/bin/env bash
# Prints what leaving out dead channels is worth, for each model of which something is left out:
#   bench/channels.sh [FOLDER_OF_MODELS]      default: $MCUNETC_MODELS, or ../shared/models
# Multiply-accumulates and weights are those of the graph, as the pass counts them; arena and constants those of the
# compiled model, with int8 inputs and outputs where the borders are float.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
models=${1:-${MCUNETC_MODELS:-$here/../../shared/models}}
[ -d "$models" ] || { echo "no models in '$models': name their folder, or set MCUNETC_MODELS" >&2; exit 2; }
cargo build -q --release --manifest-path "$here/../Cargo.toml"
mcunetc=${CARGO_TARGET_DIR:-$here/../target}/release/mcunetc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
without=canonicalize,fuse,schedule,patch-split{layers=search},cascade,lower,pack-weights,plan-memory

# Arena and constants in bytes for a model and further options, or dashes.
memory() {
    local model=$1
    shift
    rm -rf "$work/out"
    if "$mcunetc" "$models/$model/model.tflite" --io-type=int8 --name model --report=json -o "$work/out" "$@" 2>"$work/log"; then
        sed -n 's/^  "\(arena\|weight\)_bytes": \([0-9]*\),$/\2/p' "$work/out/model_report.json" | paste -s -d ' '
    else
        echo "- -"
    fi
}

# A figure of the pass.
stat() {
    sed -n "s/^ *\([0-9]*\)  $1\$/\1/p" "$work/stats"
}

echo "| model | channels | left out | MACs | without them | weights | without them | arena, B | without them | constants, B | without them |"
echo "|---|---|---|---|---|---|---|---|---|---|---|"
for folder in "$models"/*/; do
    model=$(basename "$folder")
    "$mcunetc" opt "$folder/model.tflite" --pass-pipeline=canonicalize,eliminate-dead-channels --stats \
        -o "$work/module.mcir" 2>"$work/stats" || continue
    grep -q '^eliminate-dead-channels: changed the module' "$work/stats" || continue
    read -r arena constants < <(memory "$model" --pass-pipeline="$without")
    read -r small_arena small_constants < <(memory "$model")
    echo "| $model | $(stat channels) | $(stat "channels removed") | $(stat "macs before") | $(stat "macs after")" \
        "| $(stat "weights before") | $(stat "weights after") | $arena | $small_arena | $constants | $small_constants |"
done
