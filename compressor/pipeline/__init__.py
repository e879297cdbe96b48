"""Recipe → plan → skip what is unchanged → run → record.

A run is a folder, `runs/<name>/`, with one artifact for each link of the chain:

    train or teacher   the teacher, trained here or adopted from elsewhere
    clusters           classes that a generalist confuses; teacher-1 is the generalist then, specialist-1, ... know them
    control            the student's architecture trained without it
    distill            the student, trained from the teacher
    prune              the student (or the teacher), with channels cut
    export[-...]       their ONNX models: export of distill, export-pruned of prune, export-teacher, export-control, ...
    quantize           the last of these with fewer bits
    bench              every measurement
    pack               what is carried to a device
    report             (written by `api.run`)

A link that would replace what it is made from is another one beside it: prune-2, distill-2, ...

Each has a key: the hash of everything that goes in (`keys`). A link whose key has not changed is not done again.

`plan` runs a whole recipe; `current` is the run as it stands, with its folder and its artifacts so far; `teachers`,
`students`, `compression`, `exports` and `measuring` make the links, each a function of the run; `networks` and
`specialists` are what teachers are made of; `reopening` goes from an artifact back to a run.
"""

from compressor.pipeline.compression import prune, quantize
from compressor.pipeline.current import BETWEEN, ROLES, Role, Run
from compressor.pipeline.exports import export, export_all, export_as_before
from compressor.pipeline.keys import identity, runtimes_in
from compressor.pipeline.measuring import bench, compare, pack, profile
from compressor.pipeline.plan import run
from compressor.pipeline.reopening import is_control_of, own_member, recipe_of, reopen, require_beside, settings_for
from compressor.pipeline.teachers import make_teacher

__all__ = [
    "BETWEEN",
    "ROLES",
    "Role",
    "Run",
    "bench",
    "compare",
    "export",
    "export_all",
    "export_as_before",
    "identity",
    "is_control_of",
    "make_teacher",
    "own_member",
    "pack",
    "profile",
    "prune",
    "quantize",
    "recipe_of",
    "reopen",
    "require_beside",
    "run",
    "runtimes_in",
    "settings_for",
]
