"""How the answers differ: each figure and table from numbers made by hand."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from compressor.measure.record import ClassScore, Paired, ReliabilityBin, ToldOfClass, Worst, WorstSample
from compressor.report import html, quality
from compressor.report.collect import collect
from compressor.report.facts import ReportData
from compressor.scores import OF_SETS
from tests.unit.report.conftest import MakeRun

BINS = (ReliabilityBin(0.4, 0.47, 10, 0.45, 0.3), ReliabilityBin(0.93, 1.0, 260, 0.99, 0.98))


def with_accuracy(data: ReportData, role: str, **changes: object) -> ReportData:
    """`data` with other facts about the answers of one role, on every runtime."""
    candidates = tuple(
        replace(each, accuracy=tuple(replace(entry, **changes) for entry in each.accuracy))
        if each.role == role
        else each
        for each in data.candidates
    )
    return replace(data, candidates=candidates)


def test_reliability_puts_confidence_against_accuracy(data: ReportData) -> None:
    figure = quality.reliability(with_accuracy(data, "student", reliability=BINS))

    assert figure is not None
    diagonal, student = figure.traces
    assert (diagonal["x"], diagonal["y"]) == ([0, 1], [0, 1])
    assert (student["x"], student["y"]) == ([0.45, 0.99], [0.3, 0.98])
    assert student["marker"]["size"][0] < student["marker"]["size"][1]
    assert figure.rows[0] == ("Student", "0.40–0.47", "10", "45.00 %", "30.00 %")


def test_without_bins_there_is_no_reliability(data: ReportData) -> None:
    assert quality.reliability(data) is None


def test_classes_stand_in_the_order_of_what_they_lost(data: ReportData) -> None:
    teacher, student = (data.candidate(role).accuracy[0].per_class for role in ("teacher", "student"))  # type: ignore[union-attr]
    changed = [replace(score, accuracy=1.0) for score in teacher]
    lost = [replace(score, accuracy=1.0) for score in student]
    lost[3] = replace(lost[3], accuracy=0.5)
    lost[7] = replace(lost[7], accuracy=0.9)

    figure = quality.class_changes(
        with_accuracy(with_accuracy(data, "teacher", per_class=tuple(changed)), "student", per_class=tuple(lost))
    )

    assert figure is not None
    assert [row[0] for row in figure.rows[:2]] == ["3", "7"]
    assert figure.traces[0]["x"][:3] == pytest.approx([-0.5, -0.1, 0.0])


def test_the_most_frequent_changes_of_mind_come_first(data: ReportData) -> None:
    matrix = np.diag(np.full(10, 20))
    matrix[4, 9], matrix[1, 7] = 5, 2

    table = quality.changed_decisions(
        with_accuracy(data, "student", confusion_with_base=tuple(tuple(row) for row in matrix.tolist()))
    )

    assert table.caption == "Decisions that changed, 7 in all"
    assert table.rows == (("4", "9", "5", "20.00 %"), ("1", "7", "2", "9.09 %"))


def test_a_paired_test_says_whether_a_difference_is_real(data: ReportData) -> None:
    tests = (Paired("teacher", 9, 1, -0.03, -0.05, -0.01, 0.02), Paired("control", 3, 4, 0.004, -0.02, 0.03, 1.0))

    table = quality.paired(with_accuracy(data, "student", paired=tests))

    assert [(row[0], row[1], row[-1]) for row in table.rows] == [
        ("Student", "Teacher", "real"),
        ("Student", "Control", "could be chance"),
    ]
    assert table.rows[0][3] == "−5.00 to −1.00"


def test_a_very_small_p_is_not_written_as_zero(data: ReportData) -> None:
    table = quality.paired(with_accuracy(data, "student", paired=(Paired("teacher", 90, 1, -0.3, -0.4, -0.2, 1e-12),)))

    assert table.rows[0][6] == "below 0.0001"


def lost(pictures: np.ndarray | None) -> Worst:
    samples = (WorstSample(17, 4, 4, 0.97, 9, 0.61), WorstSample(3, 1, 1, 0.8, -1, 0.0))
    return Worst("student", "teacher", "ort_cpu", samples, pictures)


def test_a_lost_sample_is_a_picture_with_both_answers(data: ReportData) -> None:
    pixels = np.arange(2 * 1 * 6 * 5, dtype=np.uint8).reshape(2, 1, 6, 5)

    first, second = quality.gallery(replace(data, worst=lost(pixels)))

    assert (first.truth, first.before, first.after) == ("4", "4 (97 %)", "9 (61 %)")
    assert second.after == "nothing (0 %)"
    shown = Image.open(io.BytesIO(base64.b64decode(first.source.removeprefix("data:image/png;base64,"))))
    assert np.array_equal(np.asarray(shown), pixels[0, 0])


def test_samples_that_are_no_pictures_are_told_in_words(data: ReportData) -> None:
    first, _ = quality.gallery(replace(data, worst=lost(None)))

    assert first.source == ""
    assert "test sample 17" in first.alt


def test_colour_pictures_keep_their_colours_and_large_ones_become_small() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 200), dtype=np.uint8)

    shown = Image.open(io.BytesIO(quality.png(quality._reduced(pixels))))

    assert (shown.mode, max(shown.size)) == ("RGB", 75)
    assert np.array_equal(np.asarray(shown), np.moveaxis(pixels[:, ::4, ::4], 0, -1))


def test_the_classes_that_are_drawn_are_those_that_changed_most(data: ReportData) -> None:
    before = tuple(ClassScore(str(number), 10, 1.0) for number in range(60))
    after = tuple(ClassScore(str(number), 10, 1.0 - number / 100) for number in range(60))

    figure = quality.class_changes(
        with_accuracy(with_accuracy(data, "teacher", per_class=before), "student", per_class=after)
    )

    assert figure is not None
    assert figure.traces[0]["x"] == pytest.approx([-number / 100 for number in range(59, 19, -1)])
    assert "the 40 of 60 that changed most" in figure.caption
    assert len(figure.rows) == 60


def test_of_sets_of_classes_each_class_says_how_often_it_was_left_out_or_added(data: ReportData) -> None:
    told = (ToldOfClass(9, 0, 0), ToldOfClass(4, 6, 0), ToldOfClass(0, 0, 1))
    sets = with_accuracy(
        replace(data, label_sets=True, wording=OF_SETS), "student", sets_with_base=told, reliability=BINS
    )

    table, figure = quality.changed_decisions(sets), quality.reliability(sets)

    assert table.caption == "Decisions that changed, 7 in all"
    assert table.rows == (("1", "4", "6", "0"), ("2", "0", "0", "1"))
    assert figure is not None
    assert figure.columns[2] == "Decisions"


def test_a_page_of_very_many_classes_stays_small_enough_for_a_mail(make_run: MakeRun) -> None:
    page = html.render(collect(make_run(classes=[f"n{number:08d} some name of a class" for number in range(20_000)])))

    assert len(page.encode()) < 6e6


def test_a_lost_text_is_shown_as_it_was_written_and_none_of_it_is_run(data: ReportData) -> None:
    hostile = 'fine <script>alert(1)</script> & "good"'
    samples = tuple(replace(each, text=hostile) for each in lost(None).samples)

    page = html.render(replace(data, worst=replace(lost(None), samples=samples)))

    assert "<blockquote>fine &lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;good&#34;</blockquote>" in page
    assert hostile not in page
