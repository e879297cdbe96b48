"""`compress doctor`: what this machine and this installation can do, and what is broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from compressor.errors import CompressError, InputError

# Import name of every library that compress cannot do without; those with compiled parts are what breaks.
_NEEDED = (
    "numpy",
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "lightning_fabric",
    "safetensors",
    "sklearn",
    "PIL",
    "pydantic",
    "jinja2",
    "plotly",
)
# Extra of the package -> the module it brings and what installs it; equal to [project.optional-dependencies] by test.
_EXTRAS: Mapping[str, tuple[str, str]] = {
    "huggingface": ("datasets", "datasets tokenizers"),
    "gpu": ("pynvml", "nvidia-ml-py"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "text": ("transformers", "transformers tokenizers"),
    "timm": ("timm", "timm"),
}

# Feature -> what it means here when it is present, and when it is not.
_MEANING: Mapping[str, tuple[str, str]] = {
    "avx2": ("float32 works on 8 numbers at a time", "float32 works on 4 numbers at a time: expect slow inference"),
    "avx512f": ("float32 works on 16 numbers at a time", "float32 works on 8 numbers at a time at most"),
    "avx512_vnni": ("int8 is fast here", "no 512-bit int8 products"),
    "avx_vnni": ("int8 is fast here", "no 256-bit int8 products"),
    "amx_int8": ("large int8 matrix products are very fast here", "no int8 matrix unit"),
    "amx_bf16": ("bf16 training is very fast here", "no bf16 matrix unit"),
    "avx512_bf16": ("bf16 is native", "bf16 is emulated: float32 trains faster"),
    "neon": ("float32 works on 4 numbers at a time", "no vector unit: expect slow inference"),
    "neon_dotprod": ("int8 is fast here", "int8 may be no faster than float32: measure it"),
    "i8mm": ("int8 matrix products are very fast here", "no int8 matrix products"),
    "sve": ("wider vectors, for the libraries that use them", "no wider vectors than NEON's"),
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Show what this machine and this installation can do; exit 3 when something needed is broken.

    Example: compress doctor
    """
    from compressor import console

    facts = _examine()
    if as_json:
        console.as_json(facts)
    else:
        console.table(("what", "found", "which means"), _rows(facts))
    broken = facts["broken"]
    if broken:
        raise CompressError(
            f"{', '.join(broken)} cannot be used: {next(iter(broken.values()))}",
            where="this installation",
            hint="pip install --force-reinstall compressor",
        )


def _examine() -> dict[str, Any]:
    import importlib.util
    import shutil

    from compressor import __version__, artifact, trust
    from compressor.measure import machine

    broken = _broken_libraries()
    try:
        trusted: int | None = len(trust.entries())
    except InputError as fault:
        trusted, broken["trust"] = None, str(fault)
    return {
        "compressor": __version__,
        "broken": broken,
        "libraries": artifact.library_versions(),
        "torch": None if "torch" in broken else _torch(),
        "onnxruntime": None if "onnxruntime" in broken else _onnxruntime(),
        "machine": machine.describe(),
        "features": {
            name: {"present": present, "meaning": _MEANING[name][0 if present else 1]}
            for name, present in machine.cpu_features().items()
            if present is not None
        },
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "extras": {extra: importlib.util.find_spec(module) is not None for extra, (module, _) in _EXTRAS.items()},
        "trust": {"file": str(trust.home() / "trusted.json"), "entries": trusted},
    }


def _broken_libraries() -> dict[str, str]:
    """Needed libraries that do not import, with the reason; a wheel of another build raises more than ImportError."""
    import importlib

    broken = {}
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except (ImportError, OSError, RuntimeError, AttributeError) as fault:
            broken[name] = f"{type(fault).__name__}: {str(fault).strip().splitlines()[0] if str(fault) else ''}"
    return broken


def _torch() -> dict[str, Any]:
    import torch

    return {
        "version": torch.__version__,
        "cuda_build": torch.version.cuda,
        "cuda_usable": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
    }


def _onnxruntime() -> dict[str, Any]:
    import onnxruntime

    return {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    machine = facts["machine"]
    rows = [("compressor", facts["compressor"], ""), ("Python", machine["python"], "")]
    rows += [*_library_rows(facts), *_machine_rows(facts)]
    for name, feature in facts["features"].items():
        rows.append((f"  {name}", "yes" if feature["present"] else "no", feature["meaning"]))
    for extra, present in facts["extras"].items():
        rows.append((f"extra {extra}", "present" if present else "absent", _install_line(extra, present)))
    entries = facts["trust"]["entries"]
    rows.append(("trust", facts["trust"]["file"], "cannot be read" if entries is None else f"{entries} trusted files"))
    return rows


def _library_rows(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    if facts["torch"]:
        torch = facts["torch"]
        build = f"built for CUDA {torch['cuda_build']}" if torch["cuda_build"] else "built for the CPU"
        usable = "a GPU can be used" if torch["cuda_usable"] else f"runs on the CPU with {torch['threads']} threads"
        rows.append(("torch", torch["version"], f"{build}; {usable}"))
    if facts["onnxruntime"]:
        providers = ", ".join(facts["onnxruntime"]["providers"])
        rows.append(("ONNX Runtime", facts["onnxruntime"]["version"], providers))
    rows += [(name, "broken", reason) for name, reason in facts["broken"].items() if name != "trust"]
    return rows


def _machine_rows(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    machine = facts["machine"]
    memory = machine["memory_gb"]
    quota = machine["cpu_quota_cores"]
    limit = f"; a container limit of {quota:g} cores" if quota is not None else ""
    return [
        ("system", machine["os"], ""),
        ("CPU", machine["cpu"], machine["architecture"]),
        ("cores", str(machine["cores"]), f"this process may use them{limit}"),
        ("memory", "unknown" if memory is None else f"{memory} GB", ""),
        ("free disk", f"{facts['disk_free_gb']} GB", "where artifacts would go: runs/ in this folder"),
        ("GPU", ", ".join(machine["gpus"]) or "none", ""),
    ]


def _install_line(extra: str, present: bool) -> str:
    return "" if present else f"pip install {_EXTRAS[extra][1]}"
