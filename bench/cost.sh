#!/usr/bin/env bash
# Compares estimated and simulated cycles of one invocation of each model on a Cortex-M4 and a Cortex-M7:
#   bench/cost.sh [--layers] [--pass-pipeline=... and other options of mcunetc] MODEL.tflite...
# With --layers every layer is listed, and the share of time that is spent in layers within 15 percent. Models with float
# borders are taken with int8 inputs and outputs. Needs Debian's gcc-arm-none-eabi and qemu-system-arm; the counting plugin is
# built on first use (bench/cortexm/README.md says how cycles are simulated, docs/cost.md how they are estimated).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kit=$here/cortexm
work=$here/build/cost
layers=0
options=()
while [[ ${1-} == -* ]]; do
    if [ "$1" = --layers ]; then layers=1; else options+=("$1"); fi
    shift
done
[ $# -gt 0 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
make -s -C "$kit" all >&2
cargo build -q --release --manifest-path "$here/../Cargo.toml"
mcunetc=${CARGO_TARGET_DIR:-$here/../target}/release/mcunetc
declare -A flags=(
    [m4]="-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
    [m7]="-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16"
)
printf '%-26s %-4s %28s %8s %28s %8s %10s\n' model core "instructions est/sim" "" "cycles est/sim" "" "within 15%"
for model in "$@"; do
    name=$(basename "$(dirname "$model")")
    for core in m4 m7; do
        rm -rf "$work" && mkdir -p "$work"
        target=(--target "cortex-$core")
        io=(--io-type=int8)
        "$mcunetc" "$model" --name model -o "$work" "${target[@]}" "${io[@]}" "${options[@]}" 2>/dev/null || {
            io=()
            "$mcunetc" "$model" --name model -o "$work" "${target[@]}" "${options[@]}" 2>/dev/null
        }
        "$mcunetc" cost --json "$model" --name model "${target[@]}" "${io[@]}" "${options[@]}" > "$work/cost.json"
        # shellcheck disable=SC2086
        arm-none-eabi-gcc ${flags[$core]} -mthumb -O3 -ffp-contract=off -ffunction-sections -fdata-sections \
            -nostartfiles -Wl,--gc-sections -Wl,--no-warn-rwx-segments -I"$kit/firmware" -I"$work" \
            -L"$kit/firmware/ld" -T mps2.ld -o "$work/model.elf" "$here/instructions.c" "$work/model.c" \
            "$work/model_weights.c" "$kit/firmware/startup.S" "$kit/firmware/semihost.c"
        "$kit/cortexm-run" --cpu "$core" --json "$work/report.json" "$work/model.elf"
        python3 "$here/cost.py" "$name" "$core" "$work/cost.json" "$work/report.json" "$layers"
    done
done
