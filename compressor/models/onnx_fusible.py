"""What torch's exporter writes in a form that ONNX Runtime does not fuse, written in one that it does.

The mathematics and the operators stay the same, so that any runtime reads the file; what changes is how fast ONNX Runtime is
with it (`python -m benchmarks.fusible` measures how much). The parity gate judges what comes out, as it does every export.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxscript import ir, optimizer
from onnxscript.rewriter import RewriteRule, RewriteRuleSet

_WITHOUT_END = 2**31 - 1


def rewrite(file: Path) -> dict[str, int]:
    """Rewrite an ONNX file in place wherever a rule holds; says how often each did. One where none does is left as it is."""
    model = ir.load(file)
    found = {name: RewriteRuleSet([rule]).apply_to_model(model) for name, rule in _RULES.items()}
    if any(found.values()):
        optimizer.remove_unused_nodes(model)  # with the constants that only they read
        ir.save(model, file)
    return {name: times for name, times in found.items() if times}


def _gelu(op: Any, x: Any, half: Any, bent: Any, one: Any) -> Any:
    return op.Mul(x, op.Mul(half, op.Add(bent, one)))


def _gelu_as_it_is_fused(op: Any, x: Any, half: Any, bent: Any, one: Any) -> Any:
    return op.Mul(op.Mul(x, half), op.Add(bent, one))


def _is_gelu(context: Any, half: Any, bent: Any, one: Any, **_: Any) -> bool:
    made_by = bent.producer()
    return made_by is not None and made_by.op_type in ("Erf", "Tanh") and _number(half) == 0.5 and _number(one) == 1


def _keys_transposed(
    op: Any, keys: Any, rest: Any, last: Any, end: Any, before: Any, to: Any, begin: Any, up: Any
) -> Any:
    """The last two axes of an attention's keys swapped by way of three axes, whose sizes are read while it runs."""
    shape = op.Shape(keys)
    width, tokens, outer = op.Slice(shape, last, end), op.Slice(shape, before, to), op.Slice(shape, begin, up)
    three_axes = op.Reshape(keys, op.Concat(rest, tokens, width, axis=0))
    swapped = op.Transpose(three_axes, perm=[0, 2, 1])
    return op.Reshape(swapped, op.Concat(outer, width, tokens, axis=0))


def _transposed_at_once(op: Any, keys: Any, **_: Any) -> Any:
    rank = len(keys.shape)
    return op.Transpose(keys, perm=[*range(rank - 2), rank - 1, rank - 2])


def _swaps_the_last_two(context: Any, keys: Any, end: Any, begin: Any, **bounds: Any) -> bool:
    stated = {"rest": -1, "last": -1, "before": -2, "to": -1, "up": -2}
    return (
        keys.shape is not None
        and all(_number(bounds[name]) == number for name, number in stated.items())
        and _number(end) >= _WITHOUT_END
        and (_number(begin) == 0 or _number(begin) <= -_WITHOUT_END)
    )


def _number(value: Any) -> float:
    """A constant of one element; not a number where it is none."""
    stored = value.const_value
    return float(stored.numpy().item()) if stored is not None and stored.size == 1 else float("nan")


_RULES = {
    # x · (½ · (1 + erf(x / √2))), or with tanh (Hendrycks, Gimpel 2016, arXiv 1606.08415), as (x · ½) · (1 + ...): a half is
    # exact, so not a bit changes
    "GELU": RewriteRule(_gelu, _gelu_as_it_is_fused, _is_gelu),
    # one transposition, which needs no sizes and can become part of the matrix product
    "keys of attention": RewriteRule(_keys_transposed, _transposed_at_once, _swaps_the_last_two),
}
