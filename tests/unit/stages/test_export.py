"""The export stage: the parity gate lets nothing through that answers differently."""

from __future__ import annotations

import numpy as np
import pytest

from compressor import api
from compressor.errors import ModelError, ParityError
from compressor.runtimes.ort_cpu import OrtCpu
from tests.named import predicted
from tests.small import STUDENT, write_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("export"))


def trained(project, tmp_path, source: str, name: str):
    """An artifact of the network that `source` builds, after one epoch."""
    file = tmp_path / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    return api.train(
        file, data=f"npz:{project / 'data.npz'}", runs=tmp_path / "runs", options={"epochs": 1, "batch_size": 32}
    )


WRAPPED = (
    STUDENT.replace("def build(", "def _inner(")
    + """

class Odd(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        {body}

def build(num_classes: int, in_channels: int = 1) -> nn.Module:
    return Odd(_inner(num_classes, in_channels))
"""
)


def test_a_network_that_behaves_differently_while_it_is_traced_does_not_pass(project, tmp_path):
    lying = WRAPPED.format(
        body="y = self.inner(x)\n        return y * 1.5 + x.mean() if torch.compiler.is_exporting() else y"
    )
    source = trained(project, tmp_path, lying, "lying")
    with pytest.raises(ParityError, match="outputs differ by up to") as caught:
        api.export(source.path)
    assert "worst validation samples" in caught.value.message
    assert not (source.path.parent / "export-teacher").exists()
    assert not [file for file in source.path.parent.iterdir() if "writing" in file.name]


def test_control_flow_on_values_is_refused_with_a_reason(project, tmp_path):
    branching = WRAPPED.format(body="return self.inner(x) if x.sum() > -1e9 else self.inner(-x)")
    source = trained(project, tmp_path, branching, "branching")
    with pytest.raises(ModelError, match="cannot be exported") as caught:
        api.export(source.path)
    assert "control flow" in caught.value.hint


def test_a_fixed_batch_size_is_refused(project, tmp_path):
    fixed = WRAPPED.format(body="return self.inner(x.reshape(x.shape[0], 1, 8, 8)) + torch.zeros(len(x.tolist()), 4)")
    source = trained(project, tmp_path, fixed, "fixed")
    with pytest.raises((ModelError, ParityError)):
        api.export(source.path)


def test_an_opset_the_exporter_cannot_write_is_not_replaced_silently(project, tmp_path):
    source = trained(project, tmp_path, STUDENT, "plain")
    with pytest.raises(ModelError, match="opset"):
        api.export(source.path, options={"opset": 7})


def test_a_newer_opset_is_written_when_asked_for(project, tmp_path):
    source = trained(project, tmp_path, STUDENT, "newer")
    made = api.export(source.path, options={"opset": 20})
    assert made.manifest.details["opset"] == 20


def test_the_gate_can_be_tightened_until_float_noise_fails(project, tmp_path):
    source = trained(project, tmp_path, STUDENT, "strict")
    with pytest.raises(ParityError, match="is allowed"):
        api.export(source.path, options={"tolerance": 1e-12})


def test_answers_that_depend_on_the_rest_of_the_batch_do_not_pass(project, tmp_path):
    """In small batches it does not, so that it passed for sound when its training began."""
    mixing = WRAPPED.format(
        body="y = self.inner(x)\n        return y - y.mean(0) if torch.compiler.is_exporting() or len(x) > 8 else y"
    )
    source = trained(project, tmp_path, mixing, "mixing")
    with pytest.raises(ParityError, match="the exported model answers a sample otherwise when it is alone") as caught:
        api.export(source.path)
    assert "the network answers a sample otherwise when it is alone in its batch" in caught.value.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return nn.functional.dropout(self.inner(x), 0.2)", "differently each time"),
        ("y = self.inner(x)\n        return y - y.mean(0)", "depends on the other samples of its batch"),
    ],
    ids=["dropout", "batch"],
)
def test_an_unsteady_network_is_refused_before_it_is_trained(project, tmp_path, body, said):
    with pytest.raises(ModelError, match=said) as caught:
        trained(project, tmp_path, WRAPPED.format(body=body), "unsteady")
    assert caught.value.where == str(tmp_path / "unsteady.py")


def test_a_network_that_ends_in_a_softmax_is_kept_and_exported_with_its_logits(project, tmp_path, capsys):
    source = trained(project, tmp_path, WRAPPED.format(body="return self.inner(x).softmax(1)"), "soft")
    assert "the network's outputs probabilities, of which the logarithm is taken" in " ".join(
        capsys.readouterr().err.split()
    )
    assert source.manifest.details["network"]["normalisation"]["probabilities"] == "softmax"
    made = api.export(source.path)
    runtime = OrtCpu()
    runtime.load(made.file("model.onnx"))
    pixels = np.load(project / "data.npz")["x_test"][:4].astype(np.float32) / 255
    logits = predicted(runtime, pixels)
    assert logits.min() < 0
    assert np.exp(logits).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-4)


def test_the_manifest_of_a_network_that_gives_logits_is_as_it_was(project, tmp_path):
    source = trained(project, tmp_path, STUDENT, "logits")
    assert set(source.manifest.details["network"]["normalisation"]) == {"name", "mean", "std", "outputs"}
