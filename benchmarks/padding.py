"""How much of what a network computes is padding, with batches of texts of like length and with batches at random.

python -m benchmarks.padding --data ../shared/data --tokenizer FOLDER-of-MiniLM
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import result, text
from benchmarks.result import Claim
from compressor.data.loader import Loader
from compressor.data.open import open_dataset
from compressor.data.samples import Samples
from compressor.data.token_samples import lengths_of
from compressor.recipe import DataSettings

BATCH = 32


def main() -> None:
    """Count tokens and padding of one epoch, both ways, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds sst-2 and trec")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder that holds tokenizer.json")
    given = parser.parse_args()
    claims, samples = [], {}
    for name in ("sst2", "trec"):
        with tempfile.TemporaryDirectory() as folder:
            text.written(name, given.data, Path(folder), texts=10**9)
            options = {"tokenizer": str(given.tokenizer), "max_length": 64}
            train = open_dataset(DataSettings(source=f"csv:{folder}", options=options)).train
        lengths_N = lengths_of(train)
        assert lengths_N is not None, "texts have lengths"
        shares = {
            "at random": padding(train, lengths_N, None),
            "of like length": padding(train, lengths_N, lengths_N),
        }
        samples[name] = {"texts": len(train), "mean_tokens": float(lengths_N.mean()), "padding": shares}
        claims.append(
            Claim(f"{name}: padding in batches of like length", 5.0, 100 * shares["of like length"], "%", "at most")
        )
    print(result.write("text_padding", claims, samples=samples))


def padding(train: Samples, lengths_N: NDArray[np.int64], grouped: NDArray[np.int64] | None) -> float:
    """The share of padding among the tokens of the first epoch."""
    loader = Loader(train, batch_size=BATCH, seed=0, shuffle=True, drop_last=True, lengths=grouped)
    order = loader.order(0)
    batches = lengths_N[order[: len(order) // BATCH * BATCH]].reshape(-1, BATCH)
    return float(1 - batches.sum() / (batches.max(axis=1).sum() * BATCH))


if __name__ == "__main__":
    main()
