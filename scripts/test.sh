#!/usr/bin/env bash
# Runs every check of the project. On a Debian machine that has only Rust it installs what is missing first.
#   scripts/test.sh            everything
#   scripts/test.sh --quick    without fuzz smoke runs and simulated hardware
# Real models are found through MCUNETC_MODELS (default ../shared/models); tests that need them say so when absent.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=no
for arg in "$@"; do
    case "$arg" in
        --quick) quick=yes ;;
        *) echo "usage: scripts/test.sh [--quick]" >&2; exit 2 ;;
    esac
done

# A command and the Debian package that provides it.
needs=(gcc:gcc make:make cmake:cmake clang:clang
       arm-none-eabi-gcc:gcc-arm-none-eabi qemu-system-arm:qemu-system-arm)

install_missing() {
    local missing=()
    for need in "${needs[@]}"; do
        command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
    done
    if command -v arm-none-eabi-gcc >/dev/null; then
        echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1 || missing+=(libnewlib-arm-none-eabi)
    else
        missing+=(libnewlib-arm-none-eabi)
    fi
    # clang's sanitizers live in a package named after its version.
    if ! echo 'int main(void) { return 0; }' | clang -fsanitize=address,undefined -x c -o /dev/null - 2>/dev/null; then
        missing+=(libclang-rt-dev)
    fi
    # mlir-opt reads our generic form in one test; any version from 16 on will do.
    [ -n "$(compgen -c | grep -E '^mlir-opt(-[0-9]+)?$')" ] || missing+=(mlir-tools)
    [ ${#missing[@]} -eq 0 ] && return
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing: ${missing[*]}"
    $sudo apt-get update -q
    for package in "${missing[@]}"; do
        install_package "$sudo" "$package"
    done
}

# Installs a package, or for a name without version the newest versioned one that the release has.
install_package() {
    local sudo=$1 package=$2 name
    case "$package" in
        libclang-rt-dev)
            name=libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev ;;
        mlir-tools)
            name=$(apt-cache search --names-only '^mlir-[0-9]+-tools$' | cut -d' ' -f1 | sort -V | tail -n 1) ;;
        *)
            name=$package ;;
    esac
    if [ -z "$name" ]; then
        echo "no package of this release provides $package: the tests that need it will say so"
        return
    fi
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "$name" >/dev/null
}

step() {
    echo
    echo "== $*"
    "$@"
}

install_missing
if [ "$quick" = no ]; then
    # The tests that need it say so if it cannot be built.
    step make --silent -C bench/cortexm all || echo "the simulator is not built: nothing is measured"
fi
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
# Checking the fuzz targets links nothing, so libFuzzer need not be compiled: any path to a ready one will do.
CUSTOM_LIBFUZZER_PATH=none/libfuzzer.a step cargo check --manifest-path fuzz/Cargo.toml --locked
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --locked --quiet
export MCUNETC_TEST_QUICK=$quick
step cargo test --workspace --release --locked --no-fail-fast
