"""`compress list`: the names that recipes and flags take, read from source without importing any of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor.errors import UnknownNameError

if TYPE_CHECKING:
    from compressor.artifact import Artifact
    from compressor.caches import Cache
    from compressor.registry import Member, Option

_SHORT_KEY = 12


def list_(
    family: Annotated[
        str | None,
        typer.Argument(
            help="losses, teachers, tasks, inputs, views, formats, runtimes, criteria, quantizers, "
            "models, profiles, artifacts or caches."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder whose artifacts are listed.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the names as JSON.")] = False,
) -> None:
    """Show the families of parts, or the members of one with their options.

    Example: compress list losses
    """
    from compressor import console, registry

    if family is None:
        rows = _families(runs)
        if as_json:
            console.as_json(rows)
        else:
            _show(rows, ("family", "members", "what"))
            console.note("compress list FAMILY shows one")
        return
    if family in registry.FAMILIES:
        found = [_member(member) for member in registry.members(family)]
        if as_json:
            console.as_json(found)
        else:
            _show_members(found)
    elif family == "models":
        _result(_models(), ("name", "what", "options"), as_json)
    elif family == "profiles":
        _result(_profiles(), ("name", "threads", "batch"), as_json)
    elif family == "artifacts":
        _result([_artifact(one) for one in _artifacts(runs)], ("name", "stage", "kind", "created", "metric"), as_json)
    elif family == "caches":
        _caches(as_json)
    else:
        hint = registry.nearest(family, [*registry.FAMILIES, "models", "profiles", "artifacts", "caches"], "known:")
        raise UnknownNameError(f"no family is called '{family}'", hint=hint)


def cache_row(cache: Cache) -> dict[str, Any]:
    """A cache as plain data."""
    return {
        "kind": cache.kind,
        "key": cache.key,
        "state": cache.state,
        "about": dict(cache.about),
        "size_bytes": cache.size_bytes,
        "last_used": cache.last_used.isoformat(timespec="seconds"),
        "path": str(cache.path),
    }


def show_caches(found: Sequence[Cache]) -> None:
    """Caches as a table."""
    from compressor import console
    from compressor.report import format as fmt

    rows = [
        (
            cache.kind,
            cache.key[:_SHORT_KEY],
            _what_from(cache),
            fmt.size(cache.size_bytes),
            f"{cache.last_used.astimezone():%Y-%m-%d %H:%M}",
        )
        for cache in found
    ]
    if rows:
        console.table(("kind", "key", "from", "size", "last used"), rows)
    else:
        console.show("none")


def _caches(as_json: bool) -> None:
    from compressor import caches, console

    found = caches.all_caches()
    if as_json:
        console.as_json([cache_row(cache) for cache in found])
        return
    show_caches(found)
    console.note(f"below {caches.root()}; compress clean deletes them")


def _what_from(cache: Cache) -> str:
    if cache.state == "damaged":
        return "damaged: its description cannot be read"
    if cache.state == "foreign":
        return "unknown: not described, behind a link, or with files that are not ours"
    return ", ".join(f"{name} {value}" for name, value in cache.about.items())


def _families(runs: Path) -> list[dict[str, Any]]:
    from compressor import caches, registry

    what = {
        "losses": "what the student is compared by: name in [[distill.losses]]",
        "teachers": "what the student learns from: kind in [teacher]",
        "tasks": "what the outputs mean: name in [task]",
        "inputs": "what samples are made of: found by their shape, or named by the format",
        "views": "how samples are augmented: NAME = ... in [data.views]",
        "formats": "where samples come from: source in [data]",
        "runtimes": "what executes a model: runtimes in [bench]",
        "criteria": "how much a channel matters: criterion in [prune]",
        "quantizers": "how a model is given fewer bits: method in [quantize]",
    }
    rows = [{"family": name, "members": len(registry.members(name)), "what": what[name]} for name in registry.FAMILIES]
    return [
        *rows,
        {"family": "models", "members": len(_models()), "what": "reference networks: model = zoo:NAME"},
        {"family": "profiles", "members": len(_profiles()), "what": "run conditions: profiles in [bench]"},
        {"family": "artifacts", "members": len(_artifacts(runs)), "what": f"what stages left below {runs}"},
        {"family": "caches", "members": len(caches.all_caches()), "what": "what is kept between runs to save time"},
    ]


def _member(member: Member) -> dict[str, Any]:
    places = [option.name.upper() for option in member.positional] if member.family == "formats" else []
    return {
        "name": member.name,
        "place": places[0] if places else None,
        "summary": member.summary,
        "options": [_option(option) for option in member.options],
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.annotation,
        "default": option.default,
        "required": option.required,
        "help": option.help,
    }


def _models() -> list[dict[str, Any]]:
    """Reference networks: every public function of the zoo's files, with its docstring's first line."""
    import ast

    from compressor.models.spec import zoo_folder

    found = []
    for file in sorted(zoo_folder().glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                options = ", ".join(arg.arg for arg in node.args.kwonlyargs)
                summary = (ast.get_docstring(node) or "").split("\n")[0]
                found.append({"name": f"zoo:{node.name}", "what": summary, "options": options})
    return found


def _profiles() -> list[dict[str, Any]]:
    from compressor.recipe import DEFAULT_PROFILES

    return [
        {"name": name, "threads": profile.threads or "all cores", "batch": profile.batch}
        for name, profile in DEFAULT_PROFILES.items()
    ]


def _artifacts(runs: Path) -> list[Artifact]:
    """Artifacts below `runs`, the oldest first; a folder that is still being written, or is damaged, is none."""
    from compressor import artifact

    return artifact.in_order(artifact.below(runs))


def _artifact(one: Artifact) -> dict[str, Any]:
    manifest = one.manifest
    return {
        "name": str(one.path),
        "stage": manifest.stage,
        "role": manifest.role,
        "kind": manifest.kind,
        "created": manifest.created[:19].replace("T", " "),
        "metric": _key_metric(manifest.metrics),
    }


def _key_metric(metrics: Mapping[str, Any]) -> str:
    """The primary metric of the test split, else of the validation split; empty for what was not evaluated."""
    for split in ("test", "val"):
        evaluated = metrics.get(split) or {}
        name = evaluated.get("primary")
        if name is not None:
            return f"{split} {name} {evaluated['metrics'][name]:.4g}"
    return ""


def _result(rows: Sequence[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    from compressor import console

    if as_json:
        console.as_json(rows)
    elif rows:
        _show(rows, columns)
    else:
        console.show("none")


def _show(rows: Sequence[dict[str, Any]], columns: tuple[str, ...]) -> None:
    from compressor import console

    console.table(columns, [[row[column] for column in columns] for row in rows])


def _show_members(members: Sequence[dict[str, Any]]) -> None:
    from compressor import console

    rows: list[tuple[str, str, str, str]] = []
    for member in members:
        rows.append(
            (f"{member['name']}:{member['place']}" if member["place"] else member["name"], "", "", member["summary"])
        )
        for option in member["options"]:
            default = "required" if option["required"] else option["default"]
            rows.append((f"  {option['name']}", option["type"], default, option["help"]))
    console.table(("name", "type", "default", "what"), rows)
