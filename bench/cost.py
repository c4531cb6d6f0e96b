"""Prints the figures of one model for cost.sh: what `mcunetc cost` estimates and what the simulator counts."""
import json
import re
import sys

name, core, estimate, report, layers = sys.argv[1:]
estimate = json.load(open(estimate))
region = json.load(open(report))["regions"]["bench"]
functions = {}
for function in region["functions"]:
    found = re.match(r"layer_(\d+)_", function["name"])
    if found:
        functions[int(found[1])] = function


def compare(estimated, simulated):
    return f"{estimated:13,} /{simulated:13,} {100 * (estimated / max(simulated, 1) - 1):+7.1f}%"


rows, within, all_cycles = [], 0, 0
for layer in estimate["layers"]:
    function = functions.get(layer["index"])
    if function is None:
        continue
    simulated = function["inclusive_cycles"]
    all_cycles += simulated
    if abs(layer["cycles"] / max(simulated, 1) - 1) <= 0.15:
        within += simulated
    rows.append(f"  {layer['index']:3} {layer['op']:24} {compare(layer['cycles'], simulated)}")
total = estimate["total"]
print(f"{name:26} {core:4} {compare(total['instructions'], region['instructions'])} "
      f"{compare(total['cycles'], region['cycles'])} {100 * within / max(all_cycles, 1):8.0f}%")
if layers == "1":
    print("\n".join(rows))
