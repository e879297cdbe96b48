"""Texts as numbers of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from compressor.inputs._contract import InputKind

if TYPE_CHECKING:
    from compressor.tensors import TensorSpec


class Tokens(InputKind):
    """Texts as numbers of tokens `[T]`, padded to the longest of a batch; the tokenizer travels with the model."""

    layout: ClassVar[str] = "T"
    guide: ClassVar[str] = """
The samples are tokens already. tokenizer.json makes them of texts (python3 -m pip install tokenizers):

    import tokenizers
    found = tokenizers.Tokenizer.from_file("tokenizer.json").encode("a text")
    inputs = {"input_ids": [found.ids], "attention_mask": [found.attention_mask]}
"""

    def claims(self, spec: TensorSpec) -> bool:
        """One axis that varies, of whole numbers."""
        return len(spec.shape) == 1 and bool(spec.varying) and spec.dtype == "int64"

    def contract(self, spec: TensorSpec, *, scaled: str) -> dict[str, Any]:
        """Whole numbers."""
        return super().contract(spec, scaled=scaled) | {"dtype": spec.dtype}
