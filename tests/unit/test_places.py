"""What may be replaced, and what may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressor import places
from compressor.errors import NotOursError


def require_free(file: Path, *, ours: bool = False, **options: object) -> None:
    places.require_free(file, is_ours=lambda _: ours, where="--out", **options)  # type: ignore[arg-type]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.npz"
    file.write_text("years of work")
    return file


def test_where_nothing_stands_and_where_ours_stands_may_be_written(tmp_path: Path, mine: Path) -> None:
    require_free(tmp_path / "new.npz")
    require_free(mine, ours=True)


def test_a_file_of_others_goes_only_when_the_user_says_so(mine: Path) -> None:
    with pytest.raises(NotOursError, match=r"--out: .*is there already, and compress did not write it.*--overwrite"):
        require_free(mine)
    require_free(mine, overwrite=True)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("named", ["mine.npz", "./mine.npz", "hard.npz", "soft.npz", "."])
def test_what_is_read_is_never_replaced_by_whatever_name(
    tmp_path: Path, mine: Path, named: str, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.link(mine, tmp_path / "hard.npz")
    (tmp_path / "soft.npz").symlink_to(mine)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotOursError, match="is what is read here, and would be replaced"):
        require_free(mine, ours=True, inputs=[Path("gone.npz"), Path(named)], overwrite=overwrite)


def test_a_link_and_a_folder_are_no_place_for_a_file(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for link in ("link", "dangling"):
        with pytest.raises(NotOursError, match="is a link, which is neither followed nor replaced"):
            require_free(tmp_path / link, ours=True, overwrite=True)
    with pytest.raises(NotOursError, match="is a folder"):
        require_free(tmp_path, ours=True, overwrite=True)


WRITTEN = [
    ".lock",
    ".job",
    "recipe.json",
    "devices",
    "devices/pi.json",
    "tensorboard",
    "tensorboard/student",
    ".distill.state",
    ".distill.state/state.json",
    ".prune.state/round-1/weights.safetensors",
    ".prune.state.replaced",
    ".distill.sweep/temperature-4.json",
    ".recipe.json.writing-7",
    ".distill.writing-7",
]


@pytest.mark.parametrize("place", WRITTEN)
@pytest.mark.parametrize("leads_to", ["file", "folder", "nowhere"])
def test_no_link_may_stand_where_a_run_is_written(tmp_path: Path, place: str, leads_to: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    link = tmp_path / "run" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / leads_to)
    with pytest.raises(NotOursError, match=r"is a link, and what is written here would go where it leads.*rm "):
        places.require_no_links(tmp_path / "run")


def test_links_that_are_only_read_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run" / "data").mkdir(parents=True)
    (tmp_path / "run" / "devices").mkdir()
    (tmp_path / "run" / "train").symlink_to(tmp_path)
    (tmp_path / "run" / "data" / "set.npz").symlink_to(tmp_path / "set.npz")
    places.require_no_links(tmp_path / "run")
    places.require_no_links(tmp_path / "not there")
