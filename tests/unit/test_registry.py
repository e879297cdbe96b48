"""Families of members, read from source without importing them; user files that run beside one another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compressor import registry
from compressor.errors import InputError, UnknownNameError

MEMBER = '''"""A file."""

class Mine:
    """My own loss.

    Args:
        strength: How strong.
        names: Of what it looks at,
            and of nothing else.

    Raises:
        ValueError: Never.
    """

    def __init__(self, place: str = "here", *, strength: float, names: tuple[str, ...] = ()) -> None:
        self.strength = strength
'''

HEAVY = ("torch", "numpy", "onnx", "onnxruntime", "torchvision", "timm", "safetensors")
LIGHT = (
    "errors",
    "registry",
    "artifact",
    "recipe",
    "trust",
    "console",
    "tensors",
    "pipeline",
    "models.spec",
    "data.guess",
)


@pytest.mark.parametrize("module", LIGHT)
def test_the_lower_floors_import_nothing_heavy(module: str) -> None:
    program = f"import sys, compressor.{module}; print([name for name in {HEAVY} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert found.stdout.strip() == "[]"


def test_listing_every_family_imports_no_member() -> None:
    program = (
        "import sys; from compressor import registry\n"
        "assert all(registry.members(family) for family in registry.FAMILIES)\n"
        "assert not any(name.startswith(('compressor.losses', 'compressor.runtimes', 'torch')) for name in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_dashes_and_underscores_are_the_same() -> None:
    assert registry.find("runtimes", "ort-cpu") == registry.find("runtimes", "ort_cpu")


def test_an_unknown_name_carries_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"no loss is called 'kdd' — did you mean 'kd'\?"):
        registry.find("losses", "kdd")


def test_a_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"known: .*hard, kd.*compress list losses"):
        registry.find("losses", "zzzz")


def test_a_member_outside_is_read_without_running_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MEMBER + "\nraise RuntimeError('this ran')\n")

    member = registry.find("losses", f"{file}:Mine")

    assert (member.name, member.summary) == ("mine", "My own loss.")
    assert [(option.name, option.required) for option in member.options] == [("strength", True), ("names", False)]
    assert [option.help for option in member.options] == ["How strong.", "Of what it looks at, and of nothing else."]


def test_a_member_outside_loads(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MEMBER)

    assert registry.find("losses", f"{tmp_path / 'mine.py'}:Mine").load()(strength=2.0).strength == 2.0


def test_a_member_of_an_installed_package_is_found() -> None:
    assert registry.find("losses", "compressor.losses.kd:KD").attr == "KD"


@pytest.mark.parametrize("name", ["nowhere:X", "nowhere.at.all:X", ":X", "..up:X", "compressor.nothing:X"])
def test_a_package_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(UnknownNameError, match="no module is called"):
        registry.find("losses", name)


def test_an_attribute_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MEMBER)

    with pytest.raises(InputError, match="no class or function 'Yours'"):
        registry.find("losses", f"{tmp_path / 'mine.py'}:Yours")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"def f(:\n", "not valid Python.*line 1"), (b"\xff\xfe", "cannot be read"), (b"", "no public")],
)
def test_a_file_that_is_no_member_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mine.py").write_bytes(content)

    with pytest.raises(InputError, match=said):
        registry.find("losses", f"{tmp_path / 'mine.py'}:")


def test_option_faults_are_found_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MEMBER)
    member = registry.find("losses", f"{tmp_path / 'mine.py'}:Mine")

    faults = registry.option_faults(member, {"strenght": 1.0}, where="here")

    assert [str(fault) for fault in faults] == [
        "here.strenght: mine has no option 'strenght' — did you mean 'strength'?",
        "here.strength: mine needs the option 'strength'",
    ]


@pytest.mark.parametrize(("value", "wrong"), [("2", True), (True, True), (2, False), (2.5, False)])
def test_plain_types_of_options_are_checked(value: object, wrong: bool) -> None:
    faults = registry.option_faults(registry.find("losses", "kd"), {"temperature": value}, where="kd")

    assert bool(faults) == wrong


def test_a_file_that_raises_is_named_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("raise ZeroDivisionError('no')")

    with pytest.raises(InputError, match="does not run: ZeroDivisionError: no"):
        registry.import_file(tmp_path / "s.py")


def test_a_changed_file_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "s.py"
    file.write_text("X = 1")
    assert registry.import_file(file).X == 1

    file.write_text("X = 2")

    assert registry.import_file(file).X == 2


def test_siblings_of_equal_name_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "blocks.py").write_text(f"NAME = '{name}'")
        (tmp_path / name / "s.py").write_text("from blocks import NAME")

    assert [registry.import_file(tmp_path / name / "s.py").NAME for name in ("a", "b")] == ["a", "b"]


def test_packages_beside_a_file_are_found_and_forgotten_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "parts" / "__init__.py").write_text("from parts.inner import NAME")
        (tmp_path / name / "parts" / "inner.py").write_text(f"NAME = '{name}'")
        (tmp_path / name / "s.py").write_text("from parts import NAME")

    assert [registry.import_file(tmp_path / name / "s.py").NAME for name in ("a", "b")] == ["a", "b"]


def test_running_user_files_leaves_no_bytecode_and_reads_none(tmp_path: Path) -> None:
    (tmp_path / "quiet_blocks.py").write_text("X = 1")
    (tmp_path / "s.py").write_text("from quiet_blocks import X")

    registry.import_file(tmp_path / "s.py")

    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "home") == ["quiet_blocks.py", "s.py"]


def test_libraries_below_a_user_folder_are_not_forgotten(tmp_path: Path) -> None:
    library = tmp_path / ".venv" / "site-packages"
    library.mkdir(parents=True)
    (library / "some_library.py").write_text("")
    (tmp_path / "s.py").write_text(
        f"import sys; sys.path.append({str(library)!r}); import some_library; sys.path.pop()"
    )
    (tmp_path / "other").mkdir()

    registry.import_file(tmp_path / "s.py")
    with registry.importable(tmp_path / "other"):
        still_there = sys.modules.pop("some_library", None)

    assert still_there is not None


def test_the_search_path_is_left_as_it_was(tmp_path: Path) -> None:
    before = list(sys.path), list(sys.meta_path)

    with registry.importable(tmp_path):
        pass

    assert (sys.path, sys.meta_path) == before


@pytest.mark.parametrize(
    "ending", ["import sys; sys.exit(0)", "import argparse; argparse.ArgumentParser().parse_args(['--x'])"]
)
def test_a_file_that_ends_the_program_while_it_is_imported_is_an_error_with_a_way_out(tmp_path, ending, capsys):
    (tmp_path / "script.py").write_text(ending + "\n", encoding="utf-8")

    with pytest.raises(InputError, match="ends the program while it is imported") as caught:
        registry.import_file(tmp_path / "script.py")

    assert "__main__" in str(caught.value.hint)
    capsys.readouterr()
