"""Networks of `transformers`: from a folder of `save_pretrained` or a name on the hub, without code that comes with them.

Weights are read from safetensors alone. What an artifact keeps is the configuration, so that it is read without the folder.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from compressor import registry
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.models.build import Builder, Fit
from compressor.models.spec import ModelSpec, require_transformers

SCHEME = "transformers"
USUAL = "AutoModelForSequenceClassification"
"""What a network is made as, unless its spec names another class."""
_OF_THE_FOLDER = ("_name_or_path", "transformers_version", "auto_map", "architectures", "id2label", "label2id", "dtype")
_SUPPORTED_ATTENTION = "eager"
"""Attention as matrix products: what can be pruned, traced and counted."""


def build(spec: ModelSpec, *, fit: Fit, options: Mapping[str, Any]) -> tuple[nn.Module, Builder, bool, tuple[str, ...]]:
    """Build from `transformers:FOLDER-or-name[:AutoClass]`.

    Args:
        spec: Names the folder (`path`) or the name on the hub (`name`), and the class (`attr`).
        fit: What the network must give.
        options: Of its configuration (`num_hidden_layers`, say); `weights = false` leaves its weights unread.

    Returns:
        The network, how to build it again, whether all of its weights are trained ones, and what was done, in words.

    Raises:
        ModelError: There is no such network, it needs code of its own, or its weights are not safetensors.
        MissingExtraError: `transformers` is not installed.
    """
    place = str(spec.path or spec.name)
    changed = {name: value for name, value in options.items() if name != "weights"}
    if fit.num_classes is not None:
        changed.setdefault("num_labels", fit.num_classes)
    steps: tuple[str, ...]
    reads = bool(options.get("weights", True)) and (spec.path is None or _has_weights(spec.path))
    with _quiet(place):
        config = _config(place, changed, local=spec.path is not None)
        maker = _class_named(spec.attr or USUAL, where=spec.text)
        if not reads:
            module, steps = maker.from_config(config), ("its configuration alone; no weights were read",)
        else:
            module, told = maker.from_pretrained(
                place,
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=spec.path is not None,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype="float32",
            )
            steps = _told(told)
            for (
                parameter
            ) in module.parameters():  # read where they lie in the file, sums round otherwise in the last bit
                parameter.data = parameter.data.clone()
    _require_vocabulary(module, fit, where=spec.text)
    return module, _builder(spec.attr or USUAL, module, fit), reads and not steps, steps


def rebuild(builder: Builder) -> nn.Module:
    """The network that an artifact's reference names, with weights of its own.

    Raises:
        ModelError: This version of transformers does not know it.
    """
    name = builder.target.partition(":")[2]
    with _quiet(builder.target):
        from transformers import AutoConfig

        kept = dict(builder.options["config"])
        if builder.options.get("num_classes") is not None:
            kept["num_labels"] = builder.options["num_classes"]
        config = AutoConfig.for_model(str(kept.pop("model_type")), **kept)
        made: nn.Module = _class_named(name, where=builder.target).from_config(_plain(config))
        return made


def _has_weights(folder: Path) -> bool:
    """Whether a folder holds weights.

    Raises:
        ModelError: It holds pickled ones alone.
    """
    if any(folder.glob("*.safetensors")):
        return True
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.h5"), *folder.glob("*.pt")])
    if pickled:
        raise ModelError(
            f"its weights are in {pickled[0].name}, and safetensors alone are read",
            where=str(folder),
            hint="load it where you trust it and save it again: model.save_pretrained(folder)",
        )
    return False


def _config(place: str, changed: Mapping[str, Any], *, local: bool) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=local)
    unknown = [name for name in changed if name != "num_labels" and not hasattr(config, name)]
    if unknown:
        hint = registry.nearest(unknown[0], sorted(config.to_dict()), "it takes")
        raise ModelError(f"the configuration has no '{unknown[0]}'", where=place, hint=hint)
    for name, value in changed.items():
        setattr(config, name, value)
    return _plain(config)


def _plain(config: Any) -> Any:
    """The configuration of one that returns what classifies alone, with attention in matrix products."""
    config._attn_implementation = _SUPPORTED_ATTENTION
    config.use_cache = False
    return config


def _class_named(name: str, *, where: str) -> Any:
    import transformers

    found = getattr(transformers, name, None) if name.startswith("AutoModel") else None
    if found is None:
        hint = f"write one of transformers' AutoModel classes, such as {USUAL}, or leave it out"
        raise ModelError(f"'{name}' is not a class that a network is made as", where=where, hint=hint)
    return found


def _builder(name: str, module: nn.Module, fit: Fit) -> Builder:
    config: Any = module.config
    kept = {key: value for key, value in config.to_dict().items() if key not in _OF_THE_FOLDER}
    plain = json.loads(json.dumps(kept, default=str))
    return Builder("library", f"{SCHEME}:{name}", {"config": plain, "num_classes": fit.num_classes})


def _told(loading: Mapping[str, Any]) -> tuple[str, ...]:
    """What was not in the weights, in words: those layers are untrained."""
    missing = {str(key).rpartition(".")[0] for key in loading.get("missing_keys", ())}
    mismatched = {str(key[0] if isinstance(key, tuple) else key) for key in loading.get("mismatched_keys", ())}
    found = []
    if missing:
        found.append(f"{', '.join(sorted(missing))}: not in its weights, so untrained")
    if mismatched:
        other = ", ".join(sorted({key.rpartition(".")[0] for key in mismatched}))
        found.append(f"{other}: of another size in its weights, so untrained")
    return tuple(found)


def _require_vocabulary(module: nn.Module, fit: Fit, *, where: str) -> None:
    known = getattr(getattr(module, "config", None), "vocab_size", None)
    if fit.vocabulary is not None and known is not None and fit.vocabulary > known:
        raise ModelError(
            f"the tokenizer knows {fit.vocabulary} tokens and the network {known}",
            where=where,
            hint="name the tokenizer that it was trained with: data.options.tokenizer",
        )


@contextmanager
def _quiet(place: str) -> Iterator[None]:
    """Without its log and progress bars; its faults as one sentence.

    Raises:
        ModelError: It failed.
    """
    require_transformers(place)
    from transformers.utils import logging as told

    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModelError:
        raise
    except FOREIGN_FAULTS as fault:
        first = (str(fault) or type(fault).__name__).strip().split("\n")[0]
        raise ModelError(f"transformers cannot make it: {first}", where=place) from fault
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()
