#!/usr/bin/env bash
# Counts the instructions and estimates the cycles of one invocation of each model on a simulated Cortex-M4:
#   bench/instructions.sh [--pass-pipeline=... and other options of mcunetc] MODEL.tflite...
# Models with float borders are taken with int8 inputs and outputs. Needs Debian's gcc-arm-none-eabi and qemu-system-arm;
# the counting plugin is built on first use (bench/cortexm/README.md says how cycles are estimated).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kit=$here/cortexm
work=$here/build
options=()
while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
done
[ $# -gt 0 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2; }
make -s -C "$kit" all >&2
cargo build -q --release --manifest-path "$here/../Cargo.toml"
mcunetc=${CARGO_TARGET_DIR:-$here/../target}/release/mcunetc
flags=(-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16 -mthumb -O3 -ffp-contract=off
       -ffunction-sections -fdata-sections -nostartfiles -Wl,--gc-sections -Wl,--no-warn-rwx-segments)
printf '%-28s %14s %14s %8s %10s\n' model instructions cycles stack arena
for model in "$@"; do
    name=$(basename "$(dirname "$model")")
    rm -rf "$work" && mkdir -p "$work"
    "$mcunetc" "$model" --name model -o "$work" --io-type=int8 "${options[@]}" 2>/dev/null ||
        "$mcunetc" "$model" --name model -o "$work" "${options[@]}" 2>/dev/null
    arm-none-eabi-gcc "${flags[@]}" -I"$kit/firmware" -I"$work" -L"$kit/firmware/ld" -T mps2.ld \
        -o "$work/model.elf" "$here/instructions.c" "$work/model.c" "$work/model_weights.c" \
        "$kit/firmware/startup.S" "$kit/firmware/semihost.c"
    "$kit/cortexm-run" --cpu m4 --json "$work/report.json" "$work/model.elf"
    arena=$(sed -n 's/^#define MODEL_ARENA_BYTES \([0-9]*\)u$/\1/p' "$work/model.h")
    python3 - "$name" "$work/report.json" "$arena" <<'P'
import json, sys
name, report, arena = sys.argv[1:]
region = json.load(open(report))["regions"]["bench"]
print(f"{name:28} {region['instructions']:14,} {region['cycles']:14,} {region['stack_bytes']:8} {int(arena):10,}")
P
done
