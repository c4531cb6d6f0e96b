#!/usr/bin/env bash
# Places the instances of MiniMalloc within their capacities by the planner's exact search, and prints nodes and seconds:
#   bench/minimalloc.sh [MAX_NODES]
# The instances are found through MCUNETC_MINIMALLOC (default ../shared/minimalloc): the folder benchmarks/challenging of
# github.com/google/minimalloc. The table in docs/memory.md is this one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec cargo run -q --release --manifest-path "$here/../Cargo.toml" -p mcunet-passes --example minimalloc -- "$@"
