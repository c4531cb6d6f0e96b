#!/bin/sh
# What quantization is worth: SQNR and top-1 agreement of float models quantized by mcunetc against the float models, and those of the
# int8 models that MLPerf Tiny made of them, on the same inputs. Writes the lines of the tables in docs/quantization.md.
#
#   bench/quantization.sh              on the models' own samples, learned from and measured on the same
#   bench/quantization.sh real         on data sets (MCUNETC_DATASETS, default ../shared/datasets): learned from 128 pictures,
#                                      measured on the next 200 (SAMPLES=128,200)
#   bench/quantization.sh photographs  on crops of photographs of packages that pip installs into target/: learned from 300, measured on
#                                      500 others (SAMPLES=300,500)
#   bench/quantization.sh digits       a small network for the digits that scikit-learn ships, trained on the spot: learned from
#                                      1,000, measured on 797 others, whose labels give the accuracy
set -eu
cd "$(dirname "$0")/.."
models=${MCUNETC_MODELS:-../shared/models}
sets=${MCUNETC_DATASETS:-../shared/datasets}
mcunetc=${MCUNETC:-target/release/mcunetc}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Model, int8 model, options of quantize, then its data.
measure() {
    float=$1 official=$2 options=$3
    shift 3
    # shellcheck disable=SC2086  # options are words
    "$mcunetc" quantize "$models/$float/model.tflite" --compare "$models/$official/model.tflite" $options "$@" \
        -o "$scratch/out.mcir" 2>&1 |
        awk -v name="$float $options" '/SQNR .*samples/ || /%.*%/ || /^ranges/ || /^error/ { print name ": " $0 }'
}

each() {
    float=$1 official=$2
    shift 2
    for options in "" "--range=minmax" "--equalize" "--bias-correction" "--bias-correction --rounding=learned" \
        "--scheme=int16x8" "--scheme=int16x8 --bias-correction --rounding=learned" \
        "--weights=mixed --bias-correction --rounding=learned"; do
        measure "$float" "$official" "$options" "$@"
    done
}

# Packages with pictures.
venv=target/photographs
packages() {
    [ -d "$venv" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check scikit-image==0.26.0 scikit-learn==1.9.1 pillow==13.0.0
}

if [ "${1:-}" = digits ]; then
    packages
    "$venv/bin/python" bench/digits.py "$scratch"
    accuracy() {
        "$mcunetc" eval "$1" --data "$scratch/checked.npz" 2>/dev/null | sed -n "s/^accuracy/$2: accuracy/p"
    }
    accuracy "$scratch/digits.mcir" "digits, float"
    for options in "" "--weights=mixed --max-drop=0.6% --rounding=learned --bias-correction"; do
        # shellcheck disable=SC2086  # options are words
        "$mcunetc" quantize "$scratch/digits.mcir" $options --data "$scratch/learned.npy" \
            --check-data "$scratch/checked.npz" -o "$scratch/out.mcir" 2>&1 |
            awk -v name="digits $options" '/SQNR .*samples/ || /%.*%/ || /^ranges/ || /^error/ { print name ": " $0 }'
        accuracy "$scratch/out.mcir" "digits $options"
    done
    exit
fi

if [ "${1:-}" = photographs ]; then
    samples=${SAMPLES:-300,500}
    packages
    for network in ic,32,1 vww,96,255; do
        name=${network%%,*} std=${network##*,} size=${network#*,}
        # shellcheck disable=SC2086  # two numbers
        "$venv/bin/python" bench/photographs.py "${size%,*}" ${samples%,*} ${samples#*,} "$scratch"
        each "mlperf-$name-float" "mlperf-$name-int8" --data "$scratch/learned.npy" --check-data "$scratch/checked.npy" \
            --normalize="0,$std"
    done
    exit
fi

if [ "${1:-}" != real ]; then
    for pair in vww:vww ic:ic ad:ad kws-true:kws; do
        float=mlperf-${pair%:*}-float official=mlperf-${pair#*:}-int8
        if [ ! -d "$models/$float" ]; then
            echo "NOT MEASURED: no $models/$float (set MCUNETC_MODELS)"
            continue
        fi
        each "$float" "$official" --data "$models/$float"/io/*.in0.bin
    done
    exit
fi

samples=${SAMPLES:-128,200}
first=${samples%,*} next=${samples#*,}
# Files of a set, the first to learn from and the next to measure on, then options about the data.
on_set() {
    float=$1 official=$2 pattern=$3
    shift 3
    if ! ls $pattern >/dev/null 2>&1; then
        echo "NOT MEASURED: no $pattern (set MCUNETC_DATASETS)"
        return
    fi
    each "$float" "$official" --data $(ls $pattern | head -n "$first") \
        --check-data $(ls $pattern | tail -n "+$((first + 1))" | head -n "$next") "$@"
}
on_set mlperf-vww-float mlperf-vww-int8 "$sets/vww01/images/*.jpg" --channels=bgr
on_set mlperf-ic-float mlperf-ic-int8 "$sets/cifar10-calib500/*.bin" --data-type=uint8 --normalize=0,1
