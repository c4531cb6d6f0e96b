#!/usr/bin/env bash
# Fills fuzz/corpus with the operator corpus: models for the target `tflite`, their texts for `mcir`.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked --quiet --bin mcunetc
mkdir -p fuzz/corpus/tflite fuzz/corpus/mcir
for case in frontends/tests/ops/cases/*/; do
    name=$(basename "$case")
    [ -f "$case/model.tflite" ] || continue
    cp "$case/model.tflite" "fuzz/corpus/tflite/$name.tflite"
    target/release/mcunetc opt "$case/model.tflite" --print-weights >"fuzz/corpus/mcir/$name.mcir"
done
