"""Recipes: every fault at once, in words, at the key the user wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compressor import recipe
from compressor.errors import InputError, RecipeError

GOOD: dict[str, Any] = {
    "name": "digits",
    "data": {"source": "digits"},
    "teacher": {"model": "zoo:resnet8"},
    "student": {"model": "zoo:resnet8"},
    "train": {},
    "distill": {"losses": [{"name": "kd", "temperature": 2.0}]},
}


def told(*assignments: str) -> list[str]:
    """The faults of the good recipe with some settings changed."""
    return [str(fault) for fault in recipe.faults(recipe.override(GOOD, assignments))]


def test_a_good_recipe_has_no_fault() -> None:
    assert told() == []
    assert recipe.parse(GOOD, source="here").stage_order() == ("train", "distill", "export", "bench", "report")


def test_the_losses_keep_their_own_options() -> None:
    distill = recipe.parse(GOOD, source="here").distill

    assert distill is not None
    assert distill.losses[0].options == {"temperature": 2.0}


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        recipe.parse(GOOD, source="here").seed = 3


def test_all_faults_come_at_once() -> None:
    found = told("seed=-1", "distill.lr=x", "distill.losses.0.name=kdd", "bench.runtimes=['ort']", "data.sauce=1")

    assert [fault.partition(":")[0] for fault in found] == [
        "seed",
        "data.sauce",
        "distill.lr",
        "distill.losses.0.name",
        "bench.runtimes.0",
    ]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("distill.lr=x", "distill.lr: 'x' is not allowed: should be a number or 'auto'"),
        ("data.views.crop=x", "data.views.crop: 'x' is not allowed: should be an integer or 'auto'"),
        ("data.views.flip=3", "data.views.flip: 3 is not allowed: should be true or false or 'auto'"),
        ("distill.epochs=many", "distill.epochs: 'many' is not allowed: should be an integer or 'auto'"),
        ("distill.epochs=1.5", "distill.epochs: 1.5 is not allowed: should be an integer or 'auto'"),
        ("distill.epochs=0", "distill.epochs: 0 is not allowed: should be greater than or equal to 1 or 'auto'"),
        ("bench.profile.mine.curve_batches=[4, 0]",
            "bench.profile.mine.curve_batches.1: 0 is not allowed: should be greater than or equal to 1"),
        ("bench.profile.mine.curve_threads=[-1]",
            "bench.profile.mine.curve_threads.0: -1 is not allowed: should be greater than or equal to 0"),
        ("export.normalise=perhaps", "export.normalise: 'perhaps' is not allowed: should be true or false"),
        ("student.model=3", "student.model: 3 is not allowed: should be text"),
        ("student=x", "student: 'x' is not allowed: should be a table"),
        ("bench.profiles=3", "bench.profiles: 3 is not allowed: should be a list"),
        ("student.normalise=[[1.0], 3]", "student.normalise.1: 3 is not allowed: should be a list"),
        ("distill.losses.0.weight=0", "distill.losses.0.weight: 0 is not allowed: should be greater than 0 or a table"),
        ("distill.optimizer=adam", "distill.optimizer: 'adam' is not allowed: should be 'adamw' or 'sgd'"),
        (
            "name=a b",
            "name: 'a b' is not allowed: should begin with a letter or digit, then letters, digits, '.', '_' or '-'",
        ),
        ("distill.epoch=3", "distill.epoch: no setting is called 'epoch' — did you mean 'epochs'?"),
        ("distil={}", "distil: no setting is called 'distil' — did you mean 'distill'?"),
        ("distill.losses.0.temprature=3", "distill.losses.0.temprature: kd has no option 'temprature'"
            " — did you mean 'temperature'?"),
        ("data.source=digit", "data.source: no data format is called 'digit' — did you mean 'digits'?"
            " (compress list formats)"),
        ("distill.losses=[{name='fitnet'}]", "distill.losses: 'fitnet' looks at features alone, which leaves the last"
            ' layer untaught — add kd (or hard) beside it: a second entry with name = "kd"'),
        ("prune={latency=0.6, ranking='local'}", "prune.ranking: has no effect on a cut by latency, where importance for"
            " each millisecond decides — leave it out, or cut by macs or params"),
        ("data.source=digits:here", "data.source: 'digits' takes no place — write digits"),
        ("data.source=idx", "data.source: 'idx' needs a place — write idx:PATH"),
        ("task.name=clasification", "task.name: no task is called 'clasification' — did you mean 'classification'?"
            " (compress list tasks)"),
        ("task.options.smoothing=1", "task.options.smoothing: classification has no option 'smoothing'"
            " — did you mean 'label_smoothing'?"),
        ("teacher.kind=netwrk", "teacher.kind: no teacher is called 'netwrk' — did you mean 'network'?"
            " (compress list teachers)"),
        ("bench.profiles=['egde']", "bench.profiles.0: no profile is called 'egde' — did you mean 'edge'?,"
            " or add [bench.profile.egde]"),
        ("stages=['distill', 'distill']", "stages: 'distill' stands twice"),
        ("stages=['distill', 'train']", "stages: ['distill', 'train'] cannot run in this order"
            " — write stages = ['train', 'distill']"),
        ("stages=['bnch']", "stages.0: 'bnch' is not allowed: should be"
            " 'train', 'distill', 'prune', 'quantize', 'export', 'bench' or 'report'"),
    ],
)  # fmt: skip
def test_one_wrong_key_gives_one_fault_in_words(assignment: str, expected: str) -> None:
    assert told(assignment) == [expected]


def test_a_loss_on_the_one_right_class_is_refused_where_a_sample_has_a_set_of_them() -> None:
    (refused,) = told("task.name=multilabel", "distill.losses=[{name='dkd'}]")

    assert refused.startswith("distill.losses.0: 'dkd' needs the one right class, and this task has sets of classes")
    assert told("task.name=multilabel", "distill.losses=[{name='kd'}]") == []
    assert told("distill.losses=[{name='dkd'}]") == []


@pytest.mark.parametrize(
    ("files", "holds", "hint"),
    [
        (["a.npy"], "a.npy", "put the arrays into one archive"),
        (["b.parquet", "a.txt"], "a.txt, b.parquet", "huggingface:"),
        ([], "nothing", "images: takes a folder for each class"),
        ([f"{number}.bin" for number in range(9)], "4.bin and 4 more", "py:FILE.py:FUNCTION"),
    ],
)
def test_a_folder_that_no_format_reads_is_told_what_it_holds_and_what_could_fit(tmp_path, files, holds, hint) -> None:
    for name in files:
        (tmp_path / name).touch()

    (fault,) = told(f"data.source={tmp_path}")

    assert f"no data format reads the folder '{tmp_path}', which holds " in fault
    assert holds in fault
    assert hint in fault


def test_a_place_that_is_not_there_is_no_unknown_format(tmp_path) -> None:
    (fault,) = told(f"data.source={tmp_path}/nothere")

    assert fault.startswith(f"data.source: there is no {tmp_path}/nothere")


def test_a_file_of_another_kind_is_told_what_could_hold_it(tmp_path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("a,b,y\n1,2,0\n", encoding="utf-8")
    (fault,) = told(f"data.source={table}")
    assert fault.startswith(f"data.source: no data format reads '{table}' — write npz:FILE, an archive of x_train")


@pytest.mark.parametrize(
    ("section", "stage", "hint"),
    [
        ("data", "train", "add [data] with source = ..."),
        ("student", "distill", "add [student] with model = ..."),
        ("teacher", "train", "add [teacher] with model = ..."),
    ],
)
def test_a_missing_section_is_asked_for(section: str, stage: str, hint: str) -> None:
    raw = {key: value for key, value in GOOD.items() if key != section}

    assert f"{stage}: cannot run without a missing section — {hint}" in [str(fault) for fault in recipe.faults(raw)]


def test_a_missing_key_is_asked_for_where_it_belongs() -> None:
    assert told("teacher={}") == ["teacher.model: 'network' needs a network — write model = \"...\" in [teacher]"]


def test_a_profile_of_ones_own_is_known() -> None:
    raw = recipe.override(GOOD, ["bench.profiles=['mine']", "bench.profile.mine.threads=2"])

    assert recipe.parse(raw, source="here").bench.profile_named("mine").threads == 2


def test_a_recipe_error_names_its_source() -> None:
    with pytest.raises(RecipeError, match=r"r\.toml: seed: -1 is not allowed"):
        recipe.parse({"seed": -1}, source="r.toml")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("a=0.4", {"a": 0.4}),
        ("a=true", {"a": True}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ('a="3"', {"a": "3"}),
        ("a=resnet", {"a": "resnet"}),
        ("a=images:a=b", {"a": "images:a=b"}),
        ("a=", {"a": ""}),
        ("a.b.c=1", {"a": {"b": {"c": 1}}}),
        (" a . b = 1 ", {"a": {"b": 1}}),
        ("distill.losses.0.alpha=1", {"distill": {"losses": [{"alpha": 1}]}}),
    ],
)
def test_an_assignment_is_read_as_toml_and_else_as_text(assignment: str, expected: dict[str, Any]) -> None:
    assert recipe.override({}, [assignment]) == expected


def test_the_last_assignment_wins_and_the_recipe_stays_as_it_was() -> None:
    raw = {"distill": {"losses": [{"name": "kd"}, {"name": "hard"}]}}

    changed = recipe.override(raw, ["distill.losses.1.weight=2", "distill.losses.1.weight=3"])

    assert changed == {"distill": {"losses": [{"name": "kd"}, {"name": "hard", "weight": 3}]}}
    assert raw == {"distill": {"losses": [{"name": "kd"}, {"name": "hard"}]}}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("seed", "'seed' is not an assignment — write --set a.b=value"),
        ("=3", "is not an assignment"),
        ("name.deep=3", "'name' is not a table"),
        ("name.deep.er=3", "'name' is not a table"),
        ("distill.losses.first.alpha=3", "'first' is no position in this list"),
        ("distill.losses.7.alpha=3", "'7' is no position"),
        ("distill.losses.².alpha=3", "'²' is no position"),
    ],
)
def test_an_assignment_that_leads_nowhere_says_why(assignment: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe.override(GOOD, [assignment])


def test_dates_survive_an_assignment(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("seed = 2024-01-01")

    raw = recipe.override(recipe.read_file(file), ["name='x'"])

    assert [fault.where for fault in recipe.faults(raw)] == ["seed"]


def test_a_recipe_is_called_after_its_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "night.toml").write_text("")

    assert recipe.read_file(tmp_path / "recipe.toml")["name"] == tmp_path.name
    assert recipe.read_file(tmp_path / "night.toml")["name"] == "night"


def test_what_a_run_keeps_reads_back_equal(tmp_path: Path) -> None:
    kept = recipe.parse(GOOD, source="here")
    (tmp_path / "recipe.json").write_text(kept.model_dump_json())

    assert recipe.parse(recipe.read_file(tmp_path / "recipe.json"), source="there") == kept


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.toml", b"a = 1\nb = \n", "not valid TOML.*line 2"),
        ("r.toml", b"\xff", "cannot be read"),
        ("r.json", b'{"a":\n}', "not valid JSON.*line 2"),
        ("r.json", b"[1]", "holds a list, not the tables"),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=said):
        recipe.read_file(tmp_path / name)


def test_a_recipe_that_is_not_there_is_told_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recipe — compress init DIR"):
        recipe.read_file(tmp_path / "recipe.toml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        recipe.read_file(tmp_path)


CHAIN = GOOD | {"prune": {}, "quantize": {}}


def chain_faults(*stages: str, **sections: Any) -> list[str]:
    return [str(fault) for fault in recipe.faults(CHAIN | {"stages": list(stages)} | sections)]


def test_sections_ask_for_their_links_in_the_usual_order() -> None:
    assert recipe.parse(CHAIN, source="here").chain == ("distill", "prune", "quantize")
    assert recipe.parse(GOOD, source="here").chain == ("distill",)


def test_pruning_may_come_before_distilling_when_the_pruned_teacher_is_the_student() -> None:
    assert chain_faults("prune", "distill", "quantize", "export", student=None) == []
    assert chain_faults("prune", "distill", "export") == [
        "student: the pruned teacher is the student where prune comes before distill"
        " — remove [student], or put distill first"
    ]


def test_a_pruned_teacher_that_is_the_student_has_no_control() -> None:
    assert chain_faults("prune", "distill", "export", student=None, distill={"control": True}) == [
        "distill.control: a control is the student's architecture trained alone, and the student is the pruned teacher"
        " here — leave out distill.control, or put distill first and add [student]"
    ]
    assert chain_faults("distill", "prune", "export", distill={"control": True}) == []


def test_nothing_is_trained_after_quantization() -> None:
    (fault,) = chain_faults("distill", "quantize", "prune")

    assert fault.startswith("stages: 'prune' trains, and what 'quantize' leaves is an ONNX model")
    assert 'method = "qat"' in fault


@pytest.mark.parametrize("stages", [("export", "prune"), ("distill", "bench", "quantize"), ("prune", "train")])
def test_links_stand_between_training_and_export(stages: tuple[str, ...]) -> None:
    assert "cannot run in this order" in chain_faults(*stages, student=None)[0]


def test_a_cut_has_one_target() -> None:
    assert told("prune.macs=0.5", "prune.latency=0.5") == [
        "prune: macs and latency are given, a cut has one target — keep macs alone"
    ]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("prune.criterion=l3", "prune.criterion: no criterion is called 'l3'"),
        ("quantize.method=statik", "quantize.method: no quantizer is called 'statik' — did you mean 'static'?"),
        ("prune.profile=egde", "prune.profile: no profile is called 'egde' — did you mean 'edge'?"),
        ("prune.losses.0.name=kdd", "prune.losses.0.name: no loss is called 'kdd'"),
    ],
)
def test_names_in_links_are_checked_like_all_others(assignment: str, expected: str) -> None:
    assert told(assignment)[0].startswith(expected)


@pytest.mark.parametrize("section", ["quantize.options", "prune.criterion_options"])
def test_options_without_a_name_are_those_of_the_default(section: str) -> None:
    assert any("has no option 'epochs_x'" in fault for fault in told(f"{section}.epochs_x=1"))


def test_a_table_of_a_built_in_profile_says_what_is_other_in_it() -> None:
    bench = recipe.BenchSettings(profile={"edge": {"memory_mb": 512}, "mine": {"memory_mb": 512}})  # type: ignore[dict-item]

    assert bench.profile_named("edge") == recipe.DEFAULT_PROFILES["edge"].model_copy(update={"memory_mb": 512})
    assert bench.profile_named("mine") == recipe.ProfileSettings(memory_mb=512)
    assert bench.profile_named("server") == recipe.DEFAULT_PROFILES["server"]
    assert recipe.BenchSettings.model_validate(bench.model_dump()) == bench


def test_a_changed_gpu_profile_is_still_for_runtimes_that_run_on_one() -> None:
    changed = {"runtimes": ["ort_cpu", "torch_cuda"], "profile": {"gpu": {"batch": 8}}}
    bench = recipe.BenchSettings(**changed)  # type: ignore[arg-type]

    assert bench.profile_named("gpu").batch == 8
    assert bench.runtimes_under("gpu") == ("torch_cuda",)


def test_faults_in_a_built_in_profile_are_told_where_they_stand() -> None:
    assert [fault.partition(":")[0] for fault in told("bench.profile.edge.thread=1", "bench.profile.gpu=3")] == [
        "bench.profile.edge.thread",
        "bench.profile.gpu",
    ]


def test_a_runtime_with_options_has_a_name_that_says_what_it_is() -> None:
    half = {"name": "torch_cuda", "precision": "fp16"}
    good = {"bench": {"runtimes": ["torch_cuda_half"], "runtime": {"torch_cuda_half": half}}}
    assert [fault for fault in recipe.faults(good) if fault.where.startswith("bench")] == []
    settings = recipe.BenchSettings(**good["bench"])  # type: ignore[arg-type]
    assert settings.runtime_named("torch_cuda_half").options == {"precision": "fp16"}
    assert settings.runtime_named("ort_cpu").options == {}

    told = recipe.faults({"bench": {"runtimes": ["half"], "runtime": {"half": half}}})
    (fault,) = [each for each in told if each.where.startswith("bench")]
    assert fault.hint == "call it torch_cuda_half"


def test_faults_of_a_runtime_with_options_are_found_before_anything_runs() -> None:
    raw = {
        "bench": {
            "runtime": {"ort_cpu_x": {"name": "ort_cpu", "arenas": True}},
            "profile": {"p": {"runtimes": ["ort"]}},
        }
    }

    where = [fault.where for fault in recipe.faults(raw) if fault.where.startswith("bench")]

    assert where == ["bench.runtime.ort_cpu_x.arenas", "bench.profile.p.runtimes.0"]


@pytest.mark.parametrize("section", ["train", "distill", "prune", "specialists", "student"])
def test_null_in_a_resolved_recipe_means_not_given(section: str) -> None:
    hidden = {"data": {"source": "digits", "labels": False}, "stages": ["distill"]}
    raw = {name: table for name, table in (GOOD | hidden).items() if name not in ("train", section)}

    before, after = recipe.faults(raw), recipe.faults(raw | {section: None})

    assert [str(fault) for fault in after] == [str(fault) for fault in before]
    if not before:
        assert recipe.parse(raw | {section: None}, source="json") == recipe.parse(raw, source="toml")


def test_a_kind_of_teacher_that_is_null_is_not_given() -> None:
    parsed = recipe.parse(GOOD | {"teacher": {"model": "t.onnx", "kind": None}, "train": None}, source="json")

    assert parsed.teacher is not None
    assert parsed.teacher.kind == "onnx"


def test_specialists_are_made_by_the_defaults_where_nothing_is_said_of_them() -> None:
    made = recipe.parse(recipe.override(GOOD, ["teacher.kind=specialists"]), source="here")

    assert made.specialising == recipe.SpecialistSettings()
    assert recipe.parse(GOOD, source="here").specialising is None


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["specialists.count=3"], "specialists: a teacher of kind 'network' trains no specialists"
            ' — write kind = "specialists" in [teacher] (--teacher-kind specialists)'),
        (["teacher.kind=specialists", "specialists.count=1"],
            "specialists.count: 1 is not allowed: should be greater than or equal to 2"),
        (["teacher.kind=specialists", "teacher.kind_options.clusters=[[0, 1]]"],
            "teacher.kind_options: the run finds the clusters itself"
            " — leave out kind_options, or name trained specialists as [[teacher.members]]"),
        (["teacher.kind=specialists", 'teacher.members=[{model = "zoo:resnet8"}]'],
            "teacher.kind_options.clusters: which classes do the given specialists know?"
            " — write clusters = [[0, 3], [5, 7]] in [teacher.kind_options]: the classes of each, in order"),
        (["teacher.kind=specialists", "specialists.count=2", 'teacher.members=[{model = "zoo:resnet8"}]',
            "teacher.kind_options.clusters=[[0, 1]]"],
            "specialists: the specialists are given as members, so none are trained"
            " — leave out [specialists] or [[teacher.members]]"),
    ],
)  # fmt: skip
def test_clusters_are_either_found_or_given(assignments: list[str], expected: str) -> None:
    untrained = {name: section for name, section in GOOD.items() if name != "train"}
    assert [str(fault) for fault in recipe.faults(recipe.override(untrained, assignments))] == [expected]


@pytest.mark.parametrize("kind", ["ensemble", "union"])
def test_several_networks_are_not_trained_by_one_recipe(kind: str) -> None:
    assert told(f"teacher.kind={kind}", 'teacher.members=[{model = "zoo:resnet8"}]') == [
        f"train: trains one network, and a teacher of the kind '{kind}' is several"
        ' — train each first (compress train), and name what that leaves: model = "runs/NAME/train"'
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a." * 50_000 + "a = 1", "a dotted key has more than 32 parts"),
        ("[" + "a." * 50_000 + "a]", "a dotted key has more than 32 parts"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested deeper than 32 levels"),
        ("x = " + "{a = " * 40 + "1" + "}" * 40, "nested deeper than 32 levels"),
        ("x = " + "9" * 5000, "a value that cannot be"),
        ("seed = 0x" + "f" * 17, "a whole number of more than 64 bits"),
        ("#" * 2**20 + "\n", "larger than the 1 MB"),
        ('x = "\\u0000"', "'x' holds a null character"),
        (f'[teacher]\nmodel = "{"x" * 300}"', "'model' has a name of 300 bytes, and a file can have 255"),
        (f'name = "{"x" * 300}"', "'name' has a name of 300 bytes"),
    ],
)
def test_a_recipe_beyond_all_measure_is_refused_in_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=said):
        recipe.read_file(file)


def test_brackets_and_dots_within_strings_and_comments_are_not_counted(tmp_path: Path) -> None:
    many = "[." * 100
    texts = (f"'{many}'", f'"{many}\\""', f"'''\n{many}'\n'''", f'"""{many}\\"" + [ """')
    file = tmp_path / "recipe.toml"
    file.write_text(f"# {many}\na = [{texts[0]}, {texts[1]}]\nb = {texts[2]}\nc = {texts[3]}\n", encoding="utf-8")

    found = recipe.read_file(file)

    assert found["a"] == [many, f'{many}"']
    assert found["b"] == f"{many}'\n"
    assert found["c"] == f'{many}"" + [ '


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (".".join(["a"] * 5000) + "=1", "a path of 5000 parts, and a recipe has 32 levels at most"),
        ("a=" + "[" * 5000, "nested deeper than 32 levels"),
        ("a=" + "9" * 5000, "a value that cannot be"),
        ("distill.losses." + "9" * 5000 + ".name=kd", "is no position in this list"),
        ("teacher.model=" + "x" * 300, "'model' has a name of 300 bytes"),
        ("teacher.model=\udcff", "'model' is no UTF-8 text"),
    ],
)
def test_an_assignment_beyond_all_measure_is_refused_in_one_sentence(assignment: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe.override({}, [assignment])
