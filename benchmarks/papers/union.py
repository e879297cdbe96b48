"""Two networks that know five classes each teach one that knows all ten, from images without labels (arXiv 1904.06062).

    python -m benchmarks.papers.union --data data/fashion-mnist --runs runs/union

Two LeNet-5 learn the classes 0–4 and 5–9 of Fashion-MNIST, neither sees an image of the other's. A LeNet-5 learns all ten
from what they say together of all images, without a label; beside it one learns from all labels. The run of the first
seed goes on to the ONNX file and the report. Started again it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import result
from benchmarks.papers import runs
from benchmarks.papers.runs import made, percent, spread
from benchmarks.result import Claim
from compressor import artifact

TAUGHT = "union of 2"


def main() -> None:
    """Train what is not there yet and write the result file."""
    parser = runs.options(__doc__)
    parser.add_argument("--data", required=True, help="folder of Fashion-MNIST's four idx files")
    parser.add_argument("--epochs", type=int, default=5, help="of every network")
    given = parser.parse_args()
    runs.work_in(given.runs)
    all_classes = runs.beginning(f"idx:{given.data}", given.samples, given.runs)
    whole = runs.arrays(all_classes)
    names = [str(name) for name in whole["classes"]]
    teachers = []
    for number, known in enumerate((names[:5], names[5:])):
        half = runs.kept(given.runs / f"half-{number}-of-{given.samples}.npz", runs.of_classes(whole, known))
        words = [f"data.source={half}", f"train.epochs={given.epochs}"]
        teachers.append(made("union_teacher", given.runs / f"half-{number}", "train", words))
        print(f"teacher of {known}: {percent(teachers[-1]):.2f} %", flush=True)
    first, second = (each.path for each in teachers)
    taught = [f"teacher.model={first}", f'teacher.members=[{{model="{second}"}}]']
    alone = ['teacher={kind="none"}', 'distill.losses=[{name="hard"}]', "labels_of(data)=true"]
    students, controls = [], []
    for seed in range(given.seeds):
        words = [f"data.source={all_classes}", f"seed={seed}", f"distill.epochs={given.epochs}"]
        one_link = ['stages=["distill"]']
        whole_run = one_link if seed else []
        student = made("union_student", given.runs / f"taught-{seed}", "distill", [*words, *taught, *whole_run])
        control = made("union_student", given.runs / f"labels-{seed}", "distill", [*words, *alone, *one_link])
        students.append(student)
        controls.append(control)
        print(f"seed {seed}: {percent(student):.2f} % without labels, {percent(control):.2f} % with", flush=True)
    run = given.runs / "taught-0"
    logits_NK, labels_N = runs.answers(students[0], all_classes)
    found = {
        "epochs": given.epochs,
        "samples": given.samples,
        "teachers": [percent(each) for each in teachers],
        "union": percent(artifact.read(run / "teacher")),
        "without_labels": spread([percent(each) for each in students]),
        "all_labels": spread([percent(each) for each in controls]),
        "by_class": [100 * float(np.mean(logits_NK.argmax(axis=1)[labels_N == each] == each)) for each in range(10)],
        "agreement": runs.agreement(run),
        "report_names": TAUGHT in runs.report_of(run),
    }
    print(result.write("losses_union", claims(found), samples=found, folder=given.results))


def claims(found: Mapping[str, Any]) -> list[Claim]:
    """That one network comes to know what two know apart, and that the run ends in a file and a report that says so."""
    student, labels = found["without_labels"]["mean"], found["all_labels"]["mean"]
    return [
        Claim("points of the student without labels over its teachers together", 0.0, student - found["union"], "points"),
        Claim("points that it loses to the same network with all labels", 10.0, labels - student, "points", "at most"),
        Claim("accuracy on the class that it knows least", 50.0, min(found["by_class"]), "%"),
        Claim("the exported student answers as PyTorch does (share of equal top-1)", 0.999, found["agreement"], "share"),
        Claim(f"the report names who taught: {TAUGHT}", 1.0, float(found["report_names"]), "yes"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
