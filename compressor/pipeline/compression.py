"""The links that change a network: pruning and quantization."""

from __future__ import annotations

from compressor import console
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision, Target
from compressor.pipeline.current import Run, given
from compressor.pipeline.exports import export
from compressor.pipeline.keys import libraries, this_machine
from compressor.pipeline.recovery import as_it_was_trained


def prune(current: Run) -> Artifact:
    """Cut the latest network, and recover it from the teacher."""
    pruning, why_form = measured_as_shipped(current.recipe)
    source = current.artifacts[current.latest]
    pruning, why_recovery = as_it_was_trained(pruning, source)
    pruning, why_budget = current.settled(pruning)
    teacher = current.artifacts.get("teacher", source)
    data, why = current.counted_views(pruning)
    profile = current.recipe.bench.profile_named(pruning.profile)

    def make(target: Target) -> Artifact:
        from compressor.stages.prune import prune as stage

        return stage(
            source,
            pruning,
            teacher=teacher,
            profile=profile,
            export=current.recipe.export,
            material=current.material(pruning, data),
            target=target,
        )

    measured = {"profile": profile, "export": current.recipe.export, **this_machine()}
    settings = current.settings(data=data, training=pruning, **(measured if pruning.measures_files else {}))
    parents = {"source": source, "teacher": teacher}
    recovers = bool(pruning.epochs)
    why_teacher = _told(current.why_teacher) if recovers else ()
    why = (*why_teacher, *_told(why_recovery), *why_form, *(why_budget if recovers else ()), *why)
    made = current.link("prune", "prune", "student", settings, make, parents=parents, why=why)
    current.artifacts[current.role_of("prune")] = made
    return made


def measured_as_shipped(recipe: recipes.Recipe) -> tuple[recipes.PruneSettings, tuple[Decision, ...]]:
    """How to prune, with the form that is measured settled: a layer that is worth cutting in float may not be in int8."""
    pruning = recipe.prune or recipes.PruneSettings()
    if not pruning.measures_files or pruning.measured_as != "auto":
        return pruning, ()
    quantizing = recipe.quantize or recipes.QuantizeSettings()
    is_int8 = "quantize" in recipe.stage_order() and quantizing.method in ("static", "qat")
    form, reason = (
        ("int8", f"it is quantized afterwards ({quantizing.method})") if is_int8 else ("float", "it ships so")
    )
    return pruning.model_copy(update={"measured_as": form}), (Decision("prune.measured_as", form, reason),)


def quantize(current: Run) -> Artifact:
    """Quantize the ONNX model of the latest network; what does not pay stays in float."""
    quantizing, why_budget = current.settled(current.recipe.quantize or recipes.QuantizeSettings())
    role = current.latest
    network = current.artifacts.get(role)  # none, where an ONNX model from elsewhere was named
    teacher = current.artifacts.get("teacher", network)
    source = current.onnx.get(role) or export(current, role)
    assert source is not None
    data, why = current.counted_views(quantizing) if network is not None else (given(current.recipe.data, "data"), ())
    profile = current.recipe.bench.profile_named(quantizing.profile)

    def make(target: Target) -> Artifact:
        from compressor.stages.quantize import quantize as stage

        return stage(
            source,
            quantizing,
            profile=profile,
            network=network,
            teacher=teacher,
            material=current.material(quantizing, data),
            target=target,
        )

    settings = current.settings(data=data, training=quantizing, profile=profile, **this_machine())
    parents = {"source": source}
    if network is not None and teacher is not None:
        parents |= {"network": network, "teacher": teacher}
    why = (*((*_told(current.why_teacher), *why_budget) if quantizing.method == "qat" else ()), *why)
    current.onnx["student"] = current.link(
        "quantize", "quantize", "student-onnx", settings, make, parents=parents, also=libraries(), why=why
    )
    return current.onnx["student"]


def _told(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    for decision in decisions:
        console.note(str(decision))
    return decisions
