"""Several networks that answer as one: what teachers of several are made of, and an ordinary network for everybody else.

The rule that makes one answer out of many is a member of `teachers`; so a combination is exported, measured and distilled
from like any network, and its artifact holds every member with its own code and weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, nn

from compressor import registry
from compressor.errors import ModelError
from compressor.models.build import Builder, Loaded
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation

if TYPE_CHECKING:
    from compressor.tensors import Inputs

FORM: Final = "combined"
_SHOWN = 12


class Combined(nn.Module):
    """Networks, and the rule that makes one answer out of theirs.

    Args:
        networks: Each takes pixels in 0–1, and normalises by itself.
        rule: Takes the logits of each, `[B, K_i]`, in a list; gives `logits_BK`.
    """

    def __init__(self, networks: Sequence[nn.Module], rule: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.rule = rule

    def forward(self, inputs: Inputs) -> Tensor:
        """One answer, `logits_BK`."""
        answer: Tensor = self.rule([network(inputs) for network in self.networks])
        return answer


def combine(
    members: Sequence[Loaded],
    *,
    kind: str,
    options: Mapping[str, Any],
    known: Sequence[Sequence[str]],
    classes: Sequence[str],
) -> Loaded:
    """One network out of several.

    Args:
        members: In the order they were named.
        kind: The member of `teachers` whose rule it is.
        options: Options of the kind.
        known: The classes that each member knows.
        classes: The classes that the combination is to know.

    Raises:
        ModelError: The kind is not one of several networks.
        InputError: It refuses its options, or the classes.
    """
    settings = {"options": dict(options), "known": [list(each) for each in known], "classes": list(classes)}
    builder = Builder(FORM, kind, settings)
    network = again([member.network for member in members], builder)
    title = f"{kind} of {len(members)}"
    origin = ", ".join(member.origin for member in members)
    return Loaded(network, title, origin, builder, trained=True, members=tuple(members))


def again(networks: Sequence[Network], builder: Builder) -> Network:
    """The combination that a builder describes, of networks that are there already."""
    member = registry.find("teachers", builder.target)
    kept = builder.options
    offered = {"networks": networks, "known": kept["known"], "classes": kept["classes"]}
    takes = [option.name for option in member.positional]
    if "networks" not in takes:
        raise ModelError(f"'{builder.target}' is no kind of several networks", where="teacher.kind")
    teacher = member.load()(*(offered[name] for name in takes), **kept["options"])
    return Network(teacher.network, Normalisation("none", (), ())).eval()


def titles(details: Mapping[str, Any]) -> list[str]:
    """What the members of a described combination are called, each with its classes where these differ."""
    names = [str(member["title"]) for member in details["members"]]
    known = details["options"]["known"]
    if all(set(classes) == set(known[0]) for classes in known):
        return names
    return [f"{name}: {_listed(classes)}" for name, classes in zip(names, known, strict=True)]


def sources_below(details: Mapping[str, Any], *, folder: Path = Path()) -> list[str]:
    """Every source file of a network and its members, relative to the artifact."""
    own = [(folder / name).as_posix() for name in details["sources"]]
    for number, member in enumerate(details.get("members", ())):
        own += sources_below(member, folder=folder / place_of(number))
    return own


def place_of(number: int) -> str:
    """Where a member lies in the artifact of its combination."""
    return f"members/{number + 1}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
