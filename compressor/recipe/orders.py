"""Faults in the order of the stages: what cannot run where it stands, and the sections a stage cannot run without.

They are found in a frozen recipe, after its keys and types have been checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from compressor.errors import Fault
from compressor.recipe.capabilities import needs_of
from compressor.recipe.links import LINKS, STAGES, StageName
from compressor.recipe.settings import Recipe


def order_faults(recipe: Recipe) -> list[Fault]:
    """Faults in the order of the stages, and in what they are to start from."""
    order = recipe.stage_order()
    found = []
    for name in sorted(set(order)):
        if order.count(name) > 1:
            found.append(Fault("stages", f"'{name}' stands twice"))
    found += _chain_faults(recipe, order)
    needs: list[tuple[str, object, str]] = [
        (order[0], recipe.data, "[data] with source = ..."),
        (order[0], recipe.teacher, "[teacher] with model = ..."),
    ]
    pruned_first = "prune" in order and "distill" in order and order.index("prune") < order.index("distill")
    if "distill" in order and not pruned_first:
        needs.append(("distill", recipe.student, "[student] with model = ..."))
    if pruned_first and recipe.distillation is not None and recipe.distillation.control:
        message = "a control is the student's architecture trained alone, and the student is the pruned teacher here"
        hint = "leave out distill.control, or put distill first and add [student]"
        found.append(Fault("distill.control", message, hint))
    found += _no_network_faults(recipe)
    found += [
        Fault(stage, "cannot run without a missing section", f"add {what}")
        for stage, section, what in needs
        if section is None
    ]
    return list(dict.fromkeys(found))


def _no_network_faults(recipe: Recipe) -> list[Fault]:
    """A chain that begins by changing the teacher needs one that is a network; several as one can only be quantized."""
    first = recipe.chain[0] if recipe.chain else "distill"
    if recipe.teacher is None or recipe.train is not None or first == "distill":
        return []
    takes = needs_of(recipe.teacher.kind)
    if not takes or "network" in takes or ("networks" in takes and first == "quantize"):
        return []
    what = "several" if "networks" in takes else "none"
    message = f"'{first}' changes a network, and a teacher of the kind '{recipe.teacher.kind}' is {what}"
    return [Fault("stages", message, "distil a student first: add [student]")]


def _chain_faults(recipe: Recipe, order: Sequence[StageName]) -> list[Fault]:
    """Orders that cannot be: pruning and distilling may change places, everything else has its place."""
    sensible = [name for name in STAGES if name in order]
    links = [name for name in order if name in LINKS]
    if "quantize" in links and links[-1] != "quantize":
        what = f"'{links[links.index('quantize') + 1]}' trains, and what 'quantize' leaves is an ONNX model"
        hint = 'put quantize last of the links; method = "qat" trains the quantized network from the teacher itself'
        return [Fault("stages", f"{what}, which cannot be trained", hint)]
    swapped = [name for name in order if name not in LINKS]
    ranks = [STAGES.index(name) for name in swapped]
    placed = [order.index(name) for name in links]
    after = [order.index(name) for name in ("export", "bench", "report") if name in order]
    before = [order.index("train")] if "train" in order else []
    if ranks != sorted(ranks) or (
        placed and (max(placed) > min(after, default=99) or min(placed) < max(before, default=-1))
    ):
        return [Fault("stages", f"{list(order)} cannot run in this order", f"write stages = {sensible}")]
    if links[:2] == ["prune", "distill"] and recipe.student is not None:
        hint = "remove [student], or put distill first"
        return [Fault("student", "the pruned teacher is the student where prune comes before distill", hint)]
    return []
