"""Definitions of the single-operator models whose golden outputs live in `cases/`.

`model` writes flatbuffers, `case` describes a case and draws its data, `reference` runs the two reference runtimes; every other module
defines the cases of one family of operators and exports them as `cases()`.
"""

from . import convolution, dense, elementwise, graphs, movement, reduction, resize, unary, wide

FAMILIES = (convolution, dense, elementwise, unary, reduction, resize, movement, graphs, wide)


def all_cases():
    """Every case of the corpus, in a fixed order, with unique names."""
    found = [case for family in FAMILIES for case in family.cases()]
    names = [case.name for case in found]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"expected unique case names, got {sorted(repeated)} twice")
    return found
