"""The recipe: what a user asks for, as frozen settings; TOML in, every fault at once.

A recipe names the data, the networks and the stages; flags of a stage command give the same settings. Unknown keys,
wrong types, out-of-range values, unknown names of losses, tasks, formats and runtimes, and impossible orders are found
here without torch. What only a file's content can tell (is `t.pt` a pickle?) is found by `preflight.check`.

    settings    the tables as classes (data, task, networks, export, bench), and `Recipe`, which holds everything
    links       the stages by name, and the tables of those that train: losses, train, specialists, distill, prune, quantize
    kept        the recipe that a run keeps beside its artifacts
    reading     a file to plain data, and `--set` over it
    checking    plain data to a frozen recipe, or every fault of it
    names       faults in names that point into a registry, and in the options that go with them
    orders      faults in the order of the stages
    capabilities    what tasks, teachers, losses and data need and give, and whether it fits
    _wording    what pydantic finds wrong, in our words
    _base       the base class of all settings

Other modules import from here. Among the rooms imports go one way, as in checking, orders, names, _wording, settings,
links, _base; capabilities is below all; reading needs none of them, and kept needs reading alone.
"""

from __future__ import annotations

from compressor.recipe._base import Settings, table_of
from compressor.recipe.capabilities import (
    Asking,
    feature_faults,
    loss_faults,
    needs_of,
    nothing_to_learn,
    task_gives,
    teacher_faults,
)
from compressor.recipe.checking import faults, parse
from compressor.recipe.kept import is_as_written, keep, kept_in
from compressor.recipe.links import (
    DISTILLATION_ALONE,
    SWEPT,
    DistillSettings,
    LossSettings,
    PruneSettings,
    QuantizeSettings,
    RampSettings,
    RecoverySettings,
    SpecialistSettings,
    StageName,
    TrainingSettings,
    TrainSettings,
    usual_loss,
)
from compressor.recipe.names import split_source
from compressor.recipe.reading import override, read_file, safe_name
from compressor.recipe.settings import (
    BUDGETS,
    DEFAULT_PROFILES,
    BenchSettings,
    DataSettings,
    ExportSettings,
    ModelSettings,
    OwnViewSettings,
    ProfileSettings,
    Recipe,
    RuntimeSettings,
    TaskSettings,
    TeacherSettings,
    ViewSettings,
    kind_of,
)

__all__ = [
    "BUDGETS",
    "DEFAULT_PROFILES",
    "DISTILLATION_ALONE",
    "SWEPT",
    "Asking",
    "BenchSettings",
    "DataSettings",
    "DistillSettings",
    "ExportSettings",
    "LossSettings",
    "ModelSettings",
    "OwnViewSettings",
    "ProfileSettings",
    "PruneSettings",
    "QuantizeSettings",
    "RampSettings",
    "Recipe",
    "RecoverySettings",
    "RuntimeSettings",
    "Settings",
    "SpecialistSettings",
    "StageName",
    "TaskSettings",
    "TeacherSettings",
    "TrainSettings",
    "TrainingSettings",
    "ViewSettings",
    "faults",
    "feature_faults",
    "is_as_written",
    "keep",
    "kept_in",
    "kind_of",
    "loss_faults",
    "needs_of",
    "nothing_to_learn",
    "override",
    "parse",
    "read_file",
    "safe_name",
    "split_source",
    "table_of",
    "task_gives",
    "teacher_faults",
    "usual_loss",
]
