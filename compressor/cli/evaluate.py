"""`compress evaluate`: the accuracy of any model on any data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options
from compressor.scores import Metric, Wording


def evaluate(
    source: Annotated[str, typer.Argument(help="An artifact, a checkpoint, an ONNX file, any model with weights.")],
    data: options.OtherData = None,
    arch: Annotated[
        str | None, typer.Option("--arch", help="The architecture of a source that is a state dict.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    save_outputs: Annotated[
        Path | None, typer.Option("--save-outputs", help="Also keep the answers to all splits: an .npz that can teach.")
    ] = None,
    overwrite: options.Overwrite = False,
    assignments: options.Assignments = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Accuracy of any model on a split of a data set, over all and per class.

    Example: compress evaluate net.onnx --data cifar:data
    """
    from compressor import api, console
    from compressor.report import chance
    from compressor.report.collect import as_judged

    options.trusted((source,), trust=trust)
    found = api.evaluate(
        source,
        data=data,
        arch=arch,
        split=split,
        save_outputs=save_outputs,
        overwrite=overwrite,
        assignments=assignments or (),
    )
    if as_json:
        console.as_json(found)
        return
    for decision in found["decisions"]:
        console.note(f"{decision['what']}: {decision['choice']} — {decision['reason']}")
    words, rows = Wording(**found["wording"]), []
    for each in found["per_class"]:
        score = each.get("iou", each["accuracy"])
        rows.append([each["name"], each["samples"], "–" if score is None else f"{100 * score:.2f} %"])
    near = found.get("tolerance")
    if near is None:
        is_short = words.score[1:] != words.score[1:].lower()  # IoU
        console.table([words.one, words.counted, words.score if is_short else words.score.lower()], rows)
    else:
        more = [[f"± {near[each['name']]:.4g}", f"{each['mae']:.4g}"] for each in found["per_class"]]
        columns = ["number", "samples", "within", "of its target", "mean error"]
        console.table(columns, [[*row, *own] for row, own in zip(rows, more, strict=True)])
    metric = Metric.from_json(found["metric"])
    ends = [100 * end if metric.is_share else end for end in found["interval"] or ()]
    bounds = "({:.2f}–{:.2f}), ".format(*ends) if ends else ""
    value = metric.shown(found["metrics"][metric.name])
    others = ", ".join(f"{name} {number:.4f}" for name, number in found["metrics"].items() if name != found["primary"])
    console.show(
        f"\n{found['model']} on {found['data']} ({split}): {metric.name} {value} "
        f"{bounds}{others}, {found['samples']} samples"
    )
    judged = as_judged(found, runtime="", split=split)
    if unlearned := chance.sentence([("it", judged)], metric=metric):
        console.show(unlearned)
