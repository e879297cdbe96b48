"""A teacher's kept answers: given back bit for bit, and never believed when anything about them is not right."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressor import caches
from compressor.artifact import Decision
from compressor.errors import ModelError
from compressor.tasks.classification import Classification
from compressor.teachers._cache import CachedTeacher
from compressor.teachers._choice import choose_form
from compressor.teachers._codecs import Codec, Exact, Half, Largest, Levels, Strided
from compressor.teachers._contract import Teacher
from compressor.teachers._records import AnswerStore, Form
from compressor.teachers.network import FrozenNetwork
from compressor.tensors import LOGITS, Batch, Outputs, Schema, TensorSpec
from tests.named import named_batch

NUM_SAMPLES = 40
MAPS = (3, 12, 20)


def form_of(codec: Codec) -> Form:
    """Of an answer with one output."""
    return Form(((LOGITS, codec),))


def rows(num_classes: int, top: int = 0) -> Form:
    """Of logits of so many classes: all of them, or the largest."""
    return form_of(Largest(num_classes, top) if top else Half((num_classes,)))


EVERY_FORM = [
    *(rows(num_classes) for num_classes in (1, 2, 3, 7, 10, 101, 1000)),
    rows(300, 16),
    rows(1000, 64),
    rows(70_000, 32),
    form_of(Exact((5,))),
    form_of(Half(MAPS)),
    form_of(Levels(MAPS)),
    form_of(Strided.of(Half, MAPS, stride=4)),
    form_of(Strided.of(Levels, MAPS, stride=2)),
]
SEVERAL = Form((("scores", Half((7,))), ("maps", Strided.of(Levels, MAPS, stride=2)), ("boxes", Exact((3, 4)))))
SMALL = Form((("scores", Half((3,))), ("maps", Levels((2, 2, 3))), ("boxes", Exact((2,)))))


class Network(nn.Module):
    """A teacher whose forward passes, and the samples in them, are counted by a hook."""

    def __init__(self, *, num_classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(12, num_classes)
        self.batch_sizes: list[int] = []
        self.register_forward_hook(lambda module, inputs, output: self.batch_sizes.append(len(output)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def store_in(folder: Path, *, form: Form | None = None, key: str = "k") -> AnswerStore:
    return AnswerStore(folder, key=key, num_samples=NUM_SAMPLES, form=form or rows(10))


def cached(folder: Path, network: nn.Module | None = None, **settings: str) -> CachedTeacher:
    return CachedTeacher(FrozenNetwork(network or Network()), store_in(folder, **settings))


def batch_of(ids: list[int], *, view: int = 0) -> Batch:
    """The very pictures that these samples show in this view."""
    pictures = [torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(1000 * view + each)) for each in ids]
    zeros = torch.zeros(len(ids), dtype=torch.int64)
    return named_batch(torch.stack(pictures), zeros, torch.tensor(ids), view, Classification())


def answer_for(ids: np.ndarray, form: Form, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Some values of each output."""
    chance = np.random.default_rng([seed, *ids.tolist()])
    return {name: chance.normal(0, 3, (len(ids), *codec.shape)).astype(np.float32) for name, codec in form.codecs}


def rounded(logits: torch.Tensor) -> torch.Tensor:
    return logits.half().float()


def file_of(folder: Path) -> Path:
    (file,) = folder.glob("view-*.bin")
    return file


# what comes back


@pytest.mark.parametrize("form", [*EVERY_FORM, SEVERAL], ids=str)
def test_what_is_read_is_what_writing_returned_bit_for_bit(tmp_path, form):
    ids = np.array([5, 0, 39, 17])
    written = store_in(tmp_path, form=form).write(2, ids, answer_for(ids, form))

    read, there = store_in(tmp_path, form=form).read(2, ids[::-1].copy())

    assert there.all()
    assert list(read) == [name for name, _ in form.codecs]
    for name, codec in form.codecs:
        assert read[name].shape == (4, *codec.shape)
        assert read[name].dtype == np.float32
        assert np.array_equal(read[name][::-1], written[name])


@pytest.mark.parametrize("form", [*EVERY_FORM, SEVERAL], ids=str)
def test_an_answer_is_the_same_bit_for_bit_whatever_it_is_read_with(tmp_path, form):
    store, ids = store_in(tmp_path, form=form), np.arange(11)
    written = store.write(0, ids, answer_for(ids, form))

    for chosen in (ids[3:4], ids[::2], np.array([10, 3, 3, 0])):
        read, there = store.read(0, chosen)
        assert there.all()
        assert all(np.array_equal(read[name], written[name][chosen]) for name in written)


@pytest.mark.parametrize("form", [*EVERY_FORM, SEVERAL], ids=str)
def test_a_record_is_whole_words_and_no_more_than_one_longer_than_it_must_be(form):
    payload = sum(codec.size_bytes for _, codec in form.codecs)
    assert form.record_bytes % 8 == 0
    assert payload + 8 <= form.record_bytes < payload + 16


def test_the_whole_answer_is_kept_as_float16(tmp_path):
    ids = np.arange(NUM_SAMPLES)
    logits = answer_for(ids, rows(10))
    expected = logits[LOGITS].astype(np.float16).astype(np.float32)
    assert np.array_equal(store_in(tmp_path).write(0, ids, logits)[LOGITS], expected)


# what is asked, and what is not


def test_a_second_pass_asks_the_teacher_for_nothing_and_sees_the_same_numbers(tmp_path):
    network, batches = Network(), [batch_of([3, 1, 2], view=0), batch_of([0, 5, 4], view=0), batch_of([1, 3], view=1)]
    first_teacher = cached(tmp_path, network)
    first = [first_teacher.answer(batch).logits for batch in batches]
    assert network.batch_sizes == [3, 3, 2]
    assert (first_teacher.asked, first_teacher.kept) == (8, 0)

    later_teacher = cached(tmp_path, network)
    later = [later_teacher.answer(batch).logits for batch in batches]

    assert network.batch_sizes == [3, 3, 2]
    assert (first_teacher.asked, later_teacher.asked, later_teacher.kept) == (8, 0, 8)
    for batch, one, other in zip(batches, first, later, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, rounded(network.layer(batch.call.flatten(1)).detach()))


def test_only_what_is_missing_is_asked_for_and_what_is_kept_stays(tmp_path):
    network = Network()
    teacher = cached(tmp_path, network)
    before = teacher.answer(batch_of([1, 2])).logits
    with torch.no_grad():
        network.layer.bias += 1

    after = teacher.answer(batch_of([2, 7, 1, 9])).logits

    assert network.batch_sizes == [2, 2]
    assert (teacher.asked, teacher.kept) == (4, 2)
    assert torch.equal(after[[2, 0]], before)
    fresh = network.layer(batch_of([7, 9]).call.flatten(1)).detach()
    assert torch.equal(after[[1, 3]], rounded(fresh))


def test_the_plain_sample_is_answered_by_the_teacher_each_time_and_never_kept(tmp_path):
    network = Network()
    teacher = cached(tmp_path, network)
    for _ in range(2):
        answer = teacher.answer(batch_of([1, 2], view=-1)).logits
    assert network.batch_sizes == [2, 2]
    assert torch.equal(answer, network.layer(batch_of([1, 2], view=-1).call.flatten(1)).detach())
    assert list(tmp_path.iterdir()) == []


def test_answers_that_are_not_finite_are_passed_on_and_not_kept(tmp_path):
    network = Network()
    with torch.no_grad():
        network.layer.weight[3] = torch.nan
    teacher = cached(tmp_path, network)
    for _ in range(2):
        assert teacher.answer(batch_of([1, 2])).logits[:, 3].isnan().all()
    assert network.batch_sizes == [2, 2]
    assert not store_in(tmp_path).read(0, np.array([1, 2]))[1].any()


def test_an_answer_carries_no_gradient_and_can_be_learnt_from(tmp_path):
    teacher = cached(tmp_path)
    student = nn.Linear(12, 10)
    for _ in range(2):
        batch = batch_of([1, 2, 3])
        answer = teacher.answer(batch).logits
        assert not answer.requires_grad
        nn.functional.mse_loss(student(batch.call.flatten(1)), answer).backward()
    assert student.weight.grad.abs().sum() > 0


def test_views_are_files_of_their_own_so_that_another_number_of_views_shares_them(tmp_path):
    teacher = cached(tmp_path)
    for view in (0, 3, 12):
        teacher.answer(batch_of([1], view=view))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["view-00000.bin", "view-00003.bin", "view-00012.bin"]


def test_an_unfilled_file_takes_no_more_disk_than_what_is_in_it(tmp_path):
    form = rows(1000)
    store = AnswerStore(tmp_path, key="k", num_samples=1_000_000, form=form)
    store.write(0, np.array([999_999]), answer_for(np.array([0]), form))
    status = file_of(tmp_path).stat()
    assert status.st_size == 1_000_000 * form.record_bytes
    assert status.st_blocks * 512 < 100_000


class Two(Teacher):
    """Tells two things of each sample, and has counted the samples that it told them of."""

    def answer(self, batch: Batch) -> Outputs:
        self.asked += len(batch)
        scores = batch.call.flatten(1)
        return Outputs({"scores": scores, "maps": batch.call.repeat(1, 1, 2, 2), "unheard": scores})


def test_several_outputs_are_kept_under_their_names_and_no_others(tmp_path):
    form = Form((("maps", Half((3, 4, 4))), ("scores", Exact((12,)))))
    teacher, batch = Two(), batch_of([1, 2, 3])
    first = CachedTeacher(teacher, store_in(tmp_path, form=form)).answer(batch)
    later = CachedTeacher(teacher, store_in(tmp_path, form=form)).answer(batch.rows(slice(1, 3)))

    assert teacher.asked == 3
    assert list(later.tensors) == ["maps", "scores"]
    assert torch.equal(later.tensors["scores"], batch.call.flatten(1)[1:])
    assert torch.equal(later.tensors["maps"], rounded(batch.call.repeat(1, 1, 2, 2))[1:])
    assert all(torch.equal(first.tensors[name][1:], later.tensors[name]) for name in later.tensors)


def test_a_teacher_of_another_shape_than_the_task_says_is_named_with_what_it_gives(tmp_path):
    teacher = CachedTeacher(FrozenNetwork(Network()), store_in(tmp_path, form=rows(11)))
    with pytest.raises(ModelError, match=r"gives 'logits' \[10\]; the task wants 'logits' \[11\]"):
        teacher.answer(batch_of([1, 2]))


# what is not believed


@pytest.mark.parametrize("form", [rows(10), rows(7), rows(300, 16), SMALL], ids=str)
def test_a_record_with_any_bit_flipped_is_not_there(tmp_path, form):
    ids = np.array([0, 1])
    store = store_in(tmp_path, form=form)
    store.write(0, ids, answer_for(ids, form))
    whole = file_of(tmp_path).read_bytes()
    for bit in range(8 * form.record_bytes):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file_of(tmp_path).write_bytes(damaged)
        assert store.read(0, ids)[1].tolist() == [False, True], bit


def test_the_highest_bits_of_two_words_do_not_cancel_out(tmp_path):
    form = rows(16)
    store = store_in(tmp_path, form=form)
    store.write(0, np.array([0]), answer_for(np.array([0]), form))
    damaged = bytearray(file_of(tmp_path).read_bytes())
    for word in range(form.words):
        damaged[8 * word + 7] ^= 0x80
    file_of(tmp_path).write_bytes(damaged)
    assert not store.read(0, np.array([0]))[1].any()


def test_a_damaged_record_is_asked_for_again_and_mended(tmp_path):
    network = Network()
    teacher = cached(tmp_path, network)
    right = teacher.answer(batch_of([0, 1, 2])).logits
    damaged = bytearray(file_of(tmp_path).read_bytes())
    damaged[rows(10).record_bytes + 4] ^= 0xFF
    file_of(tmp_path).write_bytes(damaged)

    assert torch.equal(teacher.answer(batch_of([0, 1, 2])).logits, right)
    assert network.batch_sizes == [3, 1]
    assert torch.equal(teacher.answer(batch_of([0, 1, 2])).logits, right)
    assert network.batch_sizes == [3, 1]


def test_a_record_torn_at_any_byte_is_not_there(tmp_path):
    form, ids = rows(10), np.array([0])
    store = store_in(tmp_path)
    store.write(0, ids, answer_for(ids, form, seed=1))
    old = file_of(tmp_path).read_bytes()
    store.write(0, ids, answer_for(ids, form, seed=2))
    new = file_of(tmp_path).read_bytes()
    assert len(old) == len(new) == form.record_bytes
    torn = {new[:cut] + behind[cut:] for cut in range(1, len(new)) for behind in (bytes(len(old)), old)} - {old, new}
    assert len(torn) > 40
    for content in torn:
        file_of(tmp_path).write_bytes(content)
        assert not store.read(0, ids)[1].any(), content


@pytest.mark.parametrize("left", [0, 1, 31, 32, 100, 319])
def test_what_a_truncated_file_has_lost_is_asked_for_again(tmp_path, left):
    network = Network()
    teacher = cached(tmp_path, network)
    ids = list(range(10))
    right = teacher.answer(batch_of(ids)).logits
    os.truncate(file_of(tmp_path), left)

    assert torch.equal(teacher.answer(batch_of(ids)).logits, right)
    assert network.batch_sizes == [10, 10 - left // 32]


def test_records_of_another_cache_view_or_sample_are_not_believed(tmp_path):
    ids = np.arange(4)
    (tmp_path / "other").mkdir()
    store, other = store_in(tmp_path), store_in(tmp_path / "other", key="another")
    store.write(0, ids, answer_for(ids, rows(10)))
    other.write(0, ids, answer_for(ids, rows(10)))
    whole = file_of(tmp_path).read_bytes()
    size = rows(10).record_bytes

    (tmp_path / "view-00001.bin").write_bytes(whole)
    assert not store.read(1, ids)[1].any(), "of another view"
    (tmp_path / "view-00001.bin").write_bytes((tmp_path / "other" / "view-00000.bin").read_bytes())
    assert not store.read(1, ids)[1].any(), "of another cache and view"
    (tmp_path / "view-00000.bin").write_bytes((tmp_path / "other" / "view-00000.bin").read_bytes())
    assert not store.read(0, ids)[1].any(), "of another cache"
    (tmp_path / "view-00000.bin").write_bytes(whole[size : 2 * size] + whole[size:])
    assert store.read(0, ids)[1].tolist() == [False, True, True, True], "of another sample"


def test_a_record_of_several_outputs_torn_between_two_of_them_is_not_there(tmp_path):
    ids, store = np.array([0]), store_in(tmp_path, form=SMALL)
    store.write(0, ids, answer_for(ids, SMALL, seed=1))
    old = file_of(tmp_path).read_bytes()
    store.write(0, ids, answer_for(ids, SMALL, seed=2))
    new = file_of(tmp_path).read_bytes()
    torn = [new[:cut] + old[cut:] for cut in range(8, SMALL.record_bytes, 8)]
    assert len(torn) > 5
    for content in torn:
        file_of(tmp_path).write_bytes(content)
        assert not store.read(0, ids)[1].any()


def test_outputs_that_changed_places_are_not_believed(tmp_path):
    form = Form((("ours", Half((4,))), ("theirs", Half((4,)))))
    ids, store = np.array([0]), store_in(tmp_path, form=form)
    store.write(0, ids, answer_for(ids, form))
    whole = file_of(tmp_path).read_bytes()
    file_of(tmp_path).write_bytes(whole[8:16] + whole[:8] + whole[16:])
    assert not store.read(0, ids)[1].any()


def test_a_file_of_zeros_or_of_noise_holds_nothing(tmp_path):
    store, ids = store_in(tmp_path), np.arange(NUM_SAMPLES)
    for content in (bytes(5000), np.random.default_rng(0).bytes(5000), b"\xff" * 5000):
        (tmp_path / "view-00000.bin").write_bytes(content)
        assert not store.read(0, ids)[1].any()


def test_a_cache_deleted_in_mid_run_costs_nothing_but_its_answers(tmp_path, capsys):
    folder, network = tmp_path / "cache", Network()
    folder.mkdir()
    teacher = cached(folder, network)
    right = teacher.answer(batch_of([0, 1])).logits
    file_of(folder).unlink()
    folder.rmdir()

    assert torch.equal(teacher.answer(batch_of([0, 1])).logits, right)
    assert "no longer kept" in capsys.readouterr().err


# crashes, crowds and full disks

FILLER = """
    import sys
    import numpy as np
    from pathlib import Path
    from compressor.teachers._codecs import Half
    from compressor.teachers._records import AnswerStore, Form
    folder, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    store = AnswerStore(folder, key="k", num_samples=4096, form=Form((("logits", Half((1000,))),)))
    truth = np.random.default_rng(0).normal(0, 3, (4096, 1000)).astype(np.float32)
    print("ready", flush=True)
    for turn in range(rounds):
        for ids in np.random.default_rng(seed + turn).permutation(4096).reshape(-1, 64):
            store.write(0, ids, {"logits": truth[ids]})
"""


def start_filling(folder: Path, *, seed: int, rounds: int) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", textwrap.dedent(FILLER), str(folder), str(seed), str(rounds)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


def right_and_there(folder: Path) -> np.ndarray:
    """Which of the filler's records are there; those that are must be right."""
    truth = np.random.default_rng(0).normal(0, 3, (4096, 1000)).astype(np.float32).astype(np.float16)
    store = AnswerStore(folder, key="k", num_samples=4096, form=rows(1000))
    read, there = store.read(0, np.arange(4096))
    assert np.array_equal(read[LOGITS][there], truth[there].astype(np.float32))
    assert not read[LOGITS][~there].any()
    return there


def test_after_a_kill_in_the_middle_of_writing_every_record_is_right_or_not_there(tmp_path):
    with start_filling(tmp_path, seed=1, rounds=1000) as filling:
        assert filling.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 30
        while not sum(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.001)
        filling.send_signal(signal.SIGKILL)
        assert filling.wait() == -signal.SIGKILL
    there = right_and_there(tmp_path)
    assert there.any()

    with start_filling(tmp_path, seed=2, rounds=1) as again:
        again.communicate()
    assert right_and_there(tmp_path).all()


def test_two_processes_may_write_one_view_at_once_while_a_third_reads_it(tmp_path):
    with start_filling(tmp_path, seed=1, rounds=2) as one, start_filling(tmp_path, seed=50, rounds=2) as other:
        assert [one.stdout.readline(), other.stdout.readline()] == ["ready\n", "ready\n"]
        while one.poll() is None or other.poll() is None:
            right_and_there(tmp_path)
        assert (one.returncode, other.returncode) == (0, 0)
    assert right_and_there(tmp_path).all()


@contextmanager
def disk_that_takes_nothing():
    """For so long no file grows, as on a full disk; not beyond, since pytest's own output may go to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_the_run_goes_on_with_the_same_numbers_and_one_note(tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    batches = [batch_of([0, 1, 2]), batch_of([3, 4]), batch_of([0, 1, 2])]
    usual = cached(tmp_path / "kept")
    right = [usual.answer(batch).logits for batch in batches]
    (tmp_path / "full").mkdir()
    network = Network()
    teacher = cached(tmp_path / "full", network)

    with disk_that_takes_nothing():
        answers = [teacher.answer(batch).logits for batch in batches]

    assert all(torch.equal(one, other) for one, other in zip(answers, right, strict=True))
    assert network.batch_sizes == [3, 2, 3]
    told = capsys.readouterr().err
    assert told.count("no longer kept") == 1
    assert "File too large" in told


def test_answers_are_not_written_where_a_link_leads(tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine" * 1000)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "view-00000.bin").symlink_to(precious)

    cached(tmp_path / "cache").answer(batch_of([0, 1, 2]))

    assert precious.read_bytes() == b"mine" * 1000
    assert "no longer kept" in capsys.readouterr().err


def test_where_the_cache_cannot_be_opened_the_same_numbers_are_given_and_it_is_said(tmp_path, monkeypatch, capsys):
    batches = [batch_of([0, 1, 2]), batch_of([3, 4], view=1), batch_of([0, 1, 2])]
    usual = cached(tmp_path)
    right = [usual.answer(batch).logits for batch in batches]
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "a file"))

    def find(student):
        return AnswerStore(caches.open_cache("teacher", "k", {}), key="k", num_samples=40, form=rows(10)), why

    why = Decision("teacher cache", "float16", "it fits")
    teacher = CachedTeacher(FrozenNetwork(Network()), find, form=rows(10))
    (told,) = teacher.meet(Network(), batches[0].inputs)

    answers = [teacher.answer(batch).logits for batch in batches]

    assert all(torch.equal(one, other) for one, other in zip(answers, right, strict=True))
    assert (told.choice, teacher.keeps_answers) == ("none", False)
    said = capsys.readouterr().err
    assert said.count("the teacher's predictions are not kept: ") == 1
    assert "point COMPRESS_CACHE to a folder that can be written" in said


def test_a_file_that_may_not_grow_any_more_keeps_what_it_has(tmp_path):
    program = textwrap.dedent("""
        import resource, sys
        import numpy as np
        from pathlib import Path
        from compressor.teachers._codecs import Half
        from compressor.teachers._records import AnswerStore, Form
        form = Form((("logits", Half((10,))),))
        resource.setrlimit(resource.RLIMIT_FSIZE, (50 * form.record_bytes + 5, resource.RLIM_INFINITY))
        store = AnswerStore(Path(sys.argv[1]), key="k", num_samples=100, form=form)
        answers = np.arange(1000, dtype=np.float32).reshape(100, 10)
        try:
            store.write(0, np.arange(100), {"logits": answers})
        except OSError as fault:
            print(fault.strerror)
        read, there = store.read(0, np.arange(100))
        assert there.tolist() == [True] * 50 + [False] * 50
        assert (read["logits"][:50] == answers[:50]).all()
    """)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "File too large\n"


# outputs as long as their texts


class Tagger(Teacher):
    """Two numbers for each token, from the token alone."""

    def answer(self, batch):
        self.asked += len(batch)
        ids = batch.inputs["input_ids"].float()
        return Outputs.of(torch.stack([ids / 3, -ids], dim=2))


TAGGED = Schema.of(TensorSpec("logits", "float32", ("tokens", 2)))
WORDS = {3: [7, 8, 9, 4, 2], 5: [6, 1], 8: [5, 5, 5]}


def texts_of(ids: list[int]) -> Batch:
    """These texts, padded to the longest of them."""
    longest = max(len(WORDS[each]) for each in ids)
    tokens = torch.tensor([WORDS[each] + [0] * (longest - len(WORDS[each])) for each in ids])
    inputs, labels = {"input_ids": tokens}, {"label": torch.zeros(len(ids), dtype=torch.int64)}
    labelled = torch.ones(len(ids), dtype=torch.bool)
    return Batch(inputs, labels, labelled, torch.tensor(ids), 0, Classification())


def tagging(folder: Path) -> CachedTeacher:
    form, _ = choose_form(TAGGED, num_samples=NUM_SAMPLES, num_views=1, budget_bytes=10**6, longest={"tokens": 5})
    tokens = Schema.of(TensorSpec("input_ids", "int64", ("tokens",)))
    return CachedTeacher(Tagger(), store_in(folder, form=form), inputs=tokens)


def test_outputs_as_long_as_texts_come_back_as_long_as_the_batch_that_asks(tmp_path):
    first = tagging(tmp_path)
    first.answer(texts_of([3, 5]))
    later = tagging(tmp_path)

    alone, with_another = later.answer(texts_of([5])).logits, later.answer(texts_of([5, 8])).logits

    assert alone.shape == (1, 2, 2)
    assert with_another.shape == (2, 3, 2)
    assert torch.equal(alone[0], with_another[0, :2])
    assert torch.equal(alone, rounded(Tagger().answer(texts_of([5])).logits))
    assert (later.kept, later.asked) == (2, 1)


def test_an_output_longer_than_the_longest_text_is_refused(tmp_path):
    teacher = tagging(tmp_path)
    WORDS[9] = [1] * 6
    with pytest.raises(ModelError, match=r"the task wants 'logits' \[5, 2\] of each sample"):
        teacher.answer(texts_of([9]))
    del WORDS[9]
