#!/usr/bin/env bash
# One line for each model and core: cycles of an inference on the simulated core, how well they are estimated, stack, arena and
# flash, and how many times as many cycles other systems take on the same simulator (bench/peers.tsv), where that is known:
#   bench/cycles.sh [--on=m4,m7 and other options of mcunetc bench] MODEL.tflite...
# Models with float borders are taken with int8 inputs and outputs. Needs Debian's gcc-arm-none-eabi and qemu-system-arm; the
# counting plugin is built on first use (bench/cortexm/README.md says how cycles are simulated).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
options=()
while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
done
[ $# -gt 0 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2; }
[[ " ${options[*]-}" == *" --on"* ]] || options+=(--on=m4,m7)
make -s -C "$here/cortexm" all >&2
cargo build -q --release --manifest-path "$here/../Cargo.toml"
mcunetc=${CARGO_TARGET_DIR:-$here/../target}/release/mcunetc
export MCUNETC_CORTEXM=${MCUNETC_CORTEXM:-$here/cortexm}
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
for model in "$@"; do
    "$mcunetc" bench --json --io-type=int8 "${options[@]}" "$model" > "$figures" 2>/dev/null ||
        "$mcunetc" bench --json "${options[@]}" "$model" > "$figures"
    python3 "$here/cycles.py" "$(basename "$(dirname "$model")")" "$figures" "$([ "$model" = "$1" ] && echo head)"
done
