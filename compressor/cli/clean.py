"""`compress clean`: delete what is kept between runs, or show what could go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from compressor.errors import ArtifactError, InputError, UnknownNameError

if TYPE_CHECKING:
    from compressor.caches import Cache


def clean(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Caches to delete: keys, or how they begin.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete every cache.")] = False,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="Delete those not used for so long.", min=0)
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only caches of this kind: teacher or pixels.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Delete caches; without KEY, --all or --older-than only show them. Later runs make what they need again.

    Example: compress clean --older-than 30
    """
    from compressor import caches

    if kind is not None and kind not in caches.KINDS:
        from compressor import registry

        hint = registry.nearest(kind, list(caches.KINDS), "known:")
        raise UnknownNameError(f"no kind of cache is called '{kind}'", where="--kind", hint=hint)
    if everything and (keys or older_than is not None):
        raise InputError("takes no KEY and no --older-than beside it", where="--all", hint="compress clean --all")
    found = [cache for cache in caches.all_caches() if kind in (None, cache.kind)]
    wanted = _named(keys, found) if keys else found
    wanted = wanted if older_than is None else [cache for cache in wanted if _days_unused(cache) >= older_than]
    if not (everything or keys or older_than is not None):
        _show(found, as_json=as_json)
        return
    if not keys:  # what may be anything goes by its name only
        wanted = [cache for cache in wanted if cache.state != "foreign"]
    deleted, fault = _delete(wanted)
    _report(deleted, [cache for cache in found if cache not in deleted], as_json=as_json)
    if fault is not None:
        raise fault


def _named(keys: Sequence[str], found: Sequence[Cache]) -> list[Cache]:
    """The caches whose keys are given or begin as given; each must mean exactly one."""
    named: list[Cache] = []
    for key in keys:
        fitting = [cache for cache in found if cache.key == key] or [
            cache for cache in found if key and cache.key.startswith(key)
        ]
        if len(fitting) > 1:
            some = ", ".join(f"{cache.kind} {cache.key[:20]}" for cache in fitting[:3])
            raise InputError(f"{len(fitting)} caches begin so: {some}", where=key, hint="write more of the key")
        if not fitting:
            from compressor import registry

            starts = [cache.key[: max(len(key), 8)] for cache in found]  # alike in length, so that a slip shows
            hint = registry.nearest(key, starts, "known:") if starts else "there are no caches: compress list caches"
            raise UnknownNameError(f"no cache has the key '{key}'", hint=hint)
        named += [cache for cache in fitting if cache not in named]
    return named


def _days_unused(cache: Cache) -> float:
    from datetime import UTC, datetime

    return (datetime.now(UTC) - cache.last_used).total_seconds() / 86_400


def _delete(wanted: Sequence[Cache]) -> tuple[list[Cache], ArtifactError | None]:
    """What went, and the first fault: one cache that stays is no reason to keep the others."""
    from compressor import caches

    deleted, faults = [], []
    for cache in wanted:
        try:
            caches.delete(cache)
            deleted.append(cache)
        except ArtifactError as fault:
            faults.append(fault)
    return deleted, faults[0] if faults else None


def _show(found: Sequence[Cache], *, as_json: bool) -> None:
    from compressor import console
    from compressor.cli.list import show_caches
    from compressor.report import format as fmt

    if as_json:
        _report([], found, as_json=True)
        return
    show_caches(found)
    if found:
        total = fmt.size(sum(cache.size_bytes for cache in found))
        console.note(f"{total} in all; nothing was deleted: compress clean --all, KEY or --older-than DAYS does")


def _report(deleted: Sequence[Cache], left: Sequence[Cache], *, as_json: bool) -> None:
    from compressor import console
    from compressor.cli.list import cache_row
    from compressor.report import format as fmt

    freed = sum(cache.size_bytes for cache in deleted)
    if as_json:
        rows = [cache_row(cache) for cache in deleted], [cache_row(cache) for cache in left]
        console.as_json({"deleted": rows[0], "freed_bytes": freed, "left": rows[1]})
        return
    for cache in deleted:
        console.show(f"deleted: {cache.kind} {cache.key[:12]}, {fmt.size(cache.size_bytes)}")
    console.show(f"{fmt.size(freed)} freed" if deleted else "nothing to delete")
    for cache in left:
        if cache.state == "foreign":
            console.note(f"left, since it may not be ours: {cache.path} (compress clean {cache.key} deletes it)")
