"""Measure the models of this pack on this machine: python run.py

Needs Python 3.9 or later, numpy and onnxruntime; nothing else. Writes device.json beside this file.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    if sys.version_info < (3, 9):  # noqa: UP036 - it runs wherever it was carried to
        sys.exit(f"error: this needs Python 3.9 or later, here is {sys.version.split()[0]}")
    for library in ("numpy", "onnxruntime"):
        try:
            __import__(library)
        except ImportError as fault:
            sys.exit(f"error: {library} is not here ({fault})\n  try: {sys.executable} -m pip install {library}")
    sys.path.insert(0, str(HERE / "lib"))
    from compressor.measure import on_device

    sys.exit(on_device.main(HERE))


if __name__ == "__main__":
    main()
