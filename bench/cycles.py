"""Prints a model's figures for cycles.sh: those of `mcunetc bench --json`, beside those of peers.tsv."""
import csv
import json
import os
import sys

name, figures, head = sys.argv[1:]
cores = json.load(open(figures))["cores"]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.tsv")) as table:
    lines = csv.DictReader((line for line in table if not line.startswith("#")), delimiter="\t")
    peers = {(line["model"], line["engine"], line["core"]): int(line["cycles"]) for line in lines}
if head:
    print(f"{'model':26} {'core':6} {'instructions':>13} {'cycles':>13} {'per MAC':>7} {'estimate':>8} {'within 15%':>10} "
          f"{'stack':>6} {'arena':>9} {'flash':>9} {'TFLM':>6} {'TinyEngine':>10}")
for core, found in cores.items():
    layers = [layer for layer in found["layers"] if layer["cycles"]]
    close = sum(layer["cycles"] for layer in layers if abs(layer["predicted_cycles"] / layer["cycles"] - 1) <= 0.15)
    within = close / max(sum(layer["cycles"] for layer in layers), 1)
    ratios = []
    for engine, width in (("tflm-cmsis-nn", 6), ("tinyengine", 10)):
        cycles = peers.get((name, engine, core))
        ratios.append(f"{cycles / found['cycles']:.2f}".rjust(width) if cycles else " " * width)
    flash = found["code_bytes"] + found["weight_bytes"]
    print(f"{name:26} {core:6} {found['instructions']:13,} {found['cycles']:13,} {found['cycles'] / max(found['macs'], 1):7.2f} "
          f"{100 * (found['predicted_cycles'] / found['cycles'] - 1):+7.1f}% {100 * within:9.0f}% {found['stack_bytes']:6,} "
          f"{found['arena_bytes']:9,} {flash:9,} {' '.join(ratios)}".rstrip())
