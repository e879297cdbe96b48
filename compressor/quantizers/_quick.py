"""An int8 file as quick as the one that will ship, made in seconds: for measuring time and size, never accuracy.

Every layer is quantized, with ranges from a few samples; the search of `stages/quantize.py`, which leaves in float what
costs time or accuracy, and bias correction are left out. Neither ranges nor biases change how long a layer takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.data.samples import ArraySamples
from compressor.quantizers._calibration import TrainingSamples
from compressor.quantizers._contract import Cpu
from compressor.quantizers.static import Static
from compressor.runtimes.ort_cpu import OrtCpu


def make_int8(file: Path, *, samples: Mapping[str, NDArray[Any]], cpu: Cpu) -> None:
    """Replace a float ONNX file by its static int8 form.

    Args:
        file: As `models/onnx_file.py` writes it.
        samples: Real samples as the data gives them, by name, each `[N, ...]`.
        cpu: What it is made for.

    Raises:
        ModelError: There is nothing in it to quantize.
    """
    runtime = OrtCpu()
    runtime.load(file)
    some = ArraySamples(samples, np.zeros(len(next(iter(samples.values()))), np.int64))
    shown = TrainingSamples(some, number=len(some), seed=0, prepare=runtime.prepare, fixed_batch=runtime.batch)
    with tempfile.TemporaryDirectory(prefix="int8-", dir=file.parent) as scratch:
        made = Path(scratch) / "model.onnx"
        prepared = Static(correct_bias=False).prepare(file, calibration=shown, cpu=cpu, scratch=Path(scratch))
        prepared.write(made)
        runtime.close()
        made.replace(file)
