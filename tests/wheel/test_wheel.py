"""What is installed is what works: the built wheel, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(line, check=True, capture_output=True)
    (built,) = folder.glob("compressor-*.whl")
    return built


@pytest.fixture(scope="session")
def unpacked(wheel, tmp_path_factory) -> Path:
    """The wheel's content alone, to be put before everything else on the path."""
    folder = tmp_path_factory.mktemp("unpacked")
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(line, check=True, capture_output=True)
    return folder


def compress(unpacked: Path, *arguments: str, cwd: Path) -> str:
    """Run the command of the unpacked wheel with this environment's libraries."""
    program = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); import compressor; "
        f"assert compressor.__file__.startswith({str(unpacked)!r}); "
        f"sys.argv = ['compress', *{arguments!r}]; from compressor.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_templates_zoo_and_report(unpacked):
    for part in ("templates/recipe.toml", "zoo/resnet_cifar.py", "report/templates/report.html.j2", "py.typed"):
        assert (unpacked / "compressor" / part).is_file(), part
    assert not (unpacked / "tests").exists()


def test_init_and_check_work_from_the_wheel(unpacked, tmp_path):
    compress(unpacked, "init", "mine", cwd=tmp_path)
    assert "no fault" in compress(unpacked, "check", "recipe.toml", cwd=tmp_path / "mine")


def test_reference_networks_are_found_in_the_wheel(unpacked, tmp_path):
    assert "resnet20" in compress(unpacked, "list", "models", cwd=tmp_path)
    assert "269 722" in compress(unpacked, "inspect", "zoo:resnet20", cwd=tmp_path)


@pytest.mark.slow
def test_the_demo_runs_in_an_empty_environment(wheel, tmp_path):
    """Minutes: installs every dependency, torch among them."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "COMPRESS_HOME": str(tmp_path / "home")}
    line = [tmp_path / "venv" / "bin" / "compress", "demo"]
    done = subprocess.run(line, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert list((elsewhere / "compress-demo").rglob("report.html"))
