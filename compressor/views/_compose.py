"""The views of a run: members of the family in their order, view `v` of sample `i` a pure function of `(seed, v, i)`.

The order is: resized crop, or crop out of a padded image; flip; RandAugment; color jitter; erasing; views of one's own; and
then mixing with the same view of another sample. uint8 stays uint8 until samples are mixed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor import registry
from compressor.artifact import Decision
from compressor.data.loader import LoadedBatch, to_float
from compressor.errors import DataError, InputError
from compressor.recipe import OwnViewSettings, ViewSettings
from compressor.tensors import MASK, Mixed, Schema, TensorSpec
from compressor.views._contract import MOVED, SPOILED, UNSURE, MixingView, View
from compressor.views._pixels import is_image
from compressor.views._stream import Draw

_MOVES = "a label is numbers, which may be places that this would move; state it if they are not"

SCHEME = 1
"""Raised with any change of what a view shows, since a teacher's kept answers are answers to it."""

_KEPT_AS = {"crop": "pad", "color_jitter": "colour_jitter"}
"""What these were called when answers were first kept: those of before are found again."""


@dataclass(frozen=True)
class _Applied:
    """A view, the inputs that it reads, and where it was stated."""

    view: View
    inputs: tuple[str, ...]
    where: str
    scope: str = ""

    def draw(self, sample_ids_B: Tensor, device: torch.device, *, view: int, seed: int) -> Draw:
        return Draw(sample_ids_B.to(device), view, seed, self.scope)


@dataclass(frozen=True)
class Views:
    """What a view does to a sample; by default nothing.

    Attributes:
        applied: What changes samples by themselves, in order.
        mixing: What mixes them with others; each has its share of the views.
        stated: What they are, as plain data, without the code of views of one's own.
    """

    applied: tuple[_Applied, ...] = ()
    mixing: tuple[MixingView, ...] = ()
    stated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mixes(self) -> bool:
        """Whether a view of one sample shows another one as well."""
        return bool(self.mixing)

    @property
    def change_nothing(self) -> bool:
        """Whether every view of a sample is the plain sample."""
        return not self.applied and not self.mixing

    def as_json(self) -> dict[str, Any]:
        """What tells these views from others, beside their seed and the code of one's own."""
        return dict(self.stated)

    def partners(self, positions_B: NDArray[np.int64], *, view: int, seed: int, num_samples: int) -> NDArray[np.int64]:
        """Positions of the samples that those at `positions_B` are mixed with: any of the set, themselves included."""
        drawn = Draw(torch.from_numpy(positions_B), view, seed).below("mixing.partner", num_samples)
        partners_B: NDArray[np.int64] = drawn.numpy()
        return partners_B

    def __call__(
        self, inputs: Mapping[str, Tensor], sample_ids_B: Tensor, *, view: int, seed: int
    ) -> dict[str, Tensor]:
        """View `view` of each sample by itself, in the types and on the device of the inputs.

        Args:
            inputs: By name, each `[B, ...]`, as they are stored.
            sample_ids_B: int64, position of each sample in its split.
            view: Number of the view; negative for the plain sample, as in `Batch.view`.
            seed: Of the views.

        Raises:
            InputError: A view of one's own gives something of another shape or type.
        """
        shown = dict(inputs)
        for each in self.applied if view >= 0 else ():
            for name in each.inputs:
                before = shown[name]
                after = each.view(before, each.draw(sample_ids_B, before.device, view=view, seed=seed))
                if after.shape != before.shape or after.dtype != before.dtype:
                    raise InputError(
                        f"the view makes {after.dtype} {list(after.shape)} of {before.dtype} {list(before.shape)}",
                        where=each.where,
                        hint="a view keeps type and shape; a batch axis is in front",
                    )
                shown[name] = after
        return shown

    def targets(self, loaded: LoadedBatch, *, view: int, seed: int) -> dict[str, Tensor]:
        """The targets of a batch as the view shows it: a mask moves with its picture, and counts for nothing where the
        picture was padded; any target that no view moves stays as it is."""
        targets = dict(loaded.targets)
        for each in self.applied if view >= 0 else ():
            for name, target in targets.items():
                if each.view.targets.get(name) == MOVED:
                    draw = each.draw(loaded.sample_ids, target.device, view=view, seed=seed)
                    targets[name] = each.view.move(name, target, draw)
        return targets

    def show(self, loaded: LoadedBatch, *, view: int, seed: int) -> tuple[dict[str, Tensor], Mixed | None]:
        """A batch as the view shows it, and what each sample was mixed with.

        The partner shows the same view of its own, and is then mixed in.
        """
        shown = self(loaded.inputs, loaded.sample_ids, view=view, seed=seed)
        if view < 0 or not self.mixing:
            return shown, None
        partners = loaded.partners
        assert partners is not None, "views that mix need a loader with partners"
        others = self(partners.inputs, partners.sample_ids, view=view, seed=seed)
        ((name, stored),) = shown.items()
        draw = Draw(loaded.sample_ids.to(stored.device), view, seed)
        mixed, share_B = mix(self.mixing, to_float(stored), to_float(others[name]), draw)
        return {name: mixed}, Mixed(partners.targets, partners.labelled, share_B, partners.sample_ids)


def mix(mixing: tuple[MixingView, ...], inputs: Tensor, partner_inputs: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Each sample mixed with its partner, and its own share of the result.

    Args:
        mixing: At least one; of several each sample draws one, all with the same chance.
        inputs: `[B, ...]`, float32: pixels in 0–1, other numbers as they are.
        partner_inputs: Likewise.
        draw: Random numbers of the view.

    Returns:
        The mixed inputs, and shares `[B]` float32.
    """
    weight, own_B = mixing[0].weights(inputs, draw)
    if len(mixing) > 1:
        which_B = (draw.uniform("mixing.which") * len(mixing)).long()
        for number, each in enumerate(mixing[1:], start=1):
            here_B = which_B == number
            other_weight, other_B = each.weights(inputs, draw)
            own_B = torch.where(here_B, other_B, own_B)
            weight = torch.where(here_B.view(-1, *[1] * (inputs.dim() - 1)), other_weight, weight)
    return weight * inputs + (1 - weight) * partner_inputs, own_B


def resolve(
    settings: ViewSettings, *, inputs: Schema, targets: Schema | None = None
) -> tuple[Views, tuple[Decision, ...]]:
    """The views that settings ask for, every `auto` decided for samples with these inputs and targets.

    Raises:
        DataError: A view cannot read these inputs, does not suit them, or makes a target untrue.
        InputError: A view of one's own refuses its options, or is none.
    """
    targets = Schema(()) if targets is None else targets
    fields, decisions = _settled(settings, inputs, targets)
    ours: list[_Applied] = []
    mixing: list[MixingView] = []
    for member in _members():
        value, where = fields[member.name], f"data.views.{member.name}"
        if value:
            made = _made(member, fields)
            readable = inputs if inputs.only is not None and made.reads(inputs.only) else Schema(())
            said = made.wants.format(name=member.name, value=value)
            names = _suited(made, member.name, readable, inputs, targets, where=where, said=said)
            if isinstance(made, MixingView):
                mixing.append(made)
            else:
                ours.append(_Applied(made, names, where))
    own = [_own(entry, inputs, targets, number=number) for number, entry in enumerate(settings.own)]
    applied = (*sorted(ours, key=lambda each: each.view.order), *own)
    if _image_of(inputs) is None and not applied and not mixing:
        decisions = (Decision("data.views", "none", f"samples are {inputs}"),)
    stated = {_KEPT_AS.get(name, name): value for name, value in fields.items()}
    if settings.own:
        stated["own"] = [{"name": entry.name, **entry.options} for entry in settings.own]
    return Views(applied, tuple(sorted(mixing, key=lambda each: each.order)), stated), decisions


def _members() -> tuple[registry.Member, ...]:
    """Ours, in the order of the settings."""
    named = {member.name: member for member in registry.members("views")}
    return tuple(named[name] for name in ViewSettings.model_fields if name in named)


def _settled(settings: ViewSettings, inputs: Schema, targets: Schema) -> tuple[dict[str, Any], tuple[Decision, ...]]:
    """The settings of our views with every `auto` decided, and why."""
    fields = {
        name: getattr(settings, name) for name in ViewSettings.model_fields if name not in ("count", "seed", "own")
    }
    image = _image_of(inputs)
    stated = [name for name, value in fields.items() if value and value != "auto"]
    decisions = []
    for member in _members():
        first, *others = member.options
        if image is None and not fields[member.name]:  # options of what is not shown tell no answers apart
            fields |= {option.name: ast.literal_eval(option.default or "None") for option in others}
        if fields[member.name] != "auto":
            continue
        fields[member.name] = ast.literal_eval(first.default or "None")
        if image is not None:
            view: type[View] = member.load()
            if any(view.targets.get(target.name) == UNSURE for target in targets):
                reason = _MOVES
            else:
                fields[member.name], reason = view.auto(image, beside=stated)
            decisions.append(Decision(f"data.views.{member.name}", view.told(fields[member.name]), reason))
    return fields, tuple(decisions)


def _made(member: registry.Member, fields: Mapping[str, Any]) -> View | MixingView:
    """One of ours: its first option is the setting of its name, any further one that of the option's."""
    first, *others = member.options
    options = {first.name: fields[member.name], **{option.name: fields[option.name] for option in others}}
    made: View | MixingView = member.load()(**options)
    return made


def _own(entry: OwnViewSettings, inputs: Schema, targets: Schema, *, number: int) -> _Applied:
    where = f"data.views.own.{number}"
    made = registry.find("views", entry.name).load()(**entry.options)
    if not isinstance(made, View):
        hint = "derive its class from compressor.views.View, which says what a view has"
        raise InputError(f"'{entry.name}' is not a view that changes each sample by itself", where=where, hint=hint)
    readable = Schema(tuple(spec for spec in inputs if made.reads(spec)))
    said = made.wants.format(name=entry.name, value=entry.name)
    names = _suited(made, entry.name, readable, inputs, targets, where=where, said=said)
    return _Applied(made, names, where, scope=f"own.{number}.")


def _suited(
    view: View | MixingView, name: str, readable: Schema, inputs: Schema, targets: Schema, *, where: str, said: str
) -> tuple[str, ...]:
    """Names of the inputs that a view changes.

    Raises:
        DataError: There are none, one of them does not suit it, or it makes a target untrue.
    """
    if not len(readable):
        raise DataError(f"{said}, samples are {inputs}", where=where, hint=f"leave out {where}")
    for spec in readable:
        view.check(spec)
    for target in targets:
        if view.targets.get(target.name) == SPOILED:
            what = "the masks with their pictures" if target.name == MASK else f"the target '{target.name}'"
            hint = "write crop, flip, resized_crop, color_jitter or erasing, which do or need not"
            if ":" in name:
                hint = "let `targets` of its class say what becomes of them: {} where they stay true"
            raise DataError(f"{name} does not move {what}", where=where, hint=hint)
    return readable.names


def _image_of(inputs: Schema) -> TensorSpec | None:
    return inputs.only if inputs.only is not None and is_image(inputs.only) else None
