"""Every error a user can meet. The exit code belongs to the class.

    CompressError                    3   base; anything a stage or the environment did
    ├── InputError                   2   the user can mend it by changing what was typed or given
    │   ├── RecipeError                  one or many faults in a recipe, flags or --set
    │   ├── UnknownNameError             no such loss, format, runtime, ...; carries the nearest names
    │   ├── ModelError                   a model spec, file or checkpoint that does not give a network
    │   ├── DataError                    a data set that cannot be read or does not fit
    │   ├── TrustError                   code or a pickle that has not been trusted
    │   └── MissingExtraError            an optional dependency is absent; carries the install line
    ├── ArtifactError                3   a folder that should hold an artifact is damaged or unwritable
    │   └── NotOursError             2   something that we did not write stands where we would write
    ├── DivergenceError              3   training met NaN or exploded
    ├── ParityError                  3   an exported model does not do what its source does
    ├── MeasurementError             3   a model could not be timed
    ├── ProcessLostError             3   another process of a distributed job has gone; the state is kept
    ├── BudgetMissedError            1   all ran, but a budget the user stated was missed
    └── InterruptedRunError        130   stopped by a signal; the state is kept

Foreign exceptions are turned into one of these at the edge where they arise.
"""

from __future__ import annotations

from dataclasses import dataclass


class CompressError(Exception):
    """Base of all errors with a sentence for the user.

    Args:
        message: One sentence: what happened, with the value.
        where: The place that caused it (`distill.losses.0.temperature`, a path, `--teacher`).
        hint: The next thing to do or type.
    """

    exit_code = 3

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.hint:
            parts.append(self.hint)
        return " — ".join(parts)


class InputError(CompressError):
    """The user can mend it by changing what was typed or given."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe: where, what, and what to type instead."""

    where: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" — {self.hint}" if self.hint else "")


class RecipeError(InputError):
    """One or many faults in a recipe, flags or `--set`, all found at once."""

    def __init__(self, faults: list[Fault], *, source: str) -> None:
        assert faults, "a RecipeError needs at least one fault"
        self.faults = faults
        self.source = source
        if len(faults) == 1:
            super().__init__(faults[0].message, where=f"{source}: {faults[0].where}", hint=faults[0].hint)
        else:
            lines = "\n".join(f"  {fault}" for fault in faults)
            super().__init__(f"{len(faults)} faults\n{lines}", where=source)


class UnknownNameError(InputError):
    """A name that no member of the family has; the hint carries the nearest ones."""


class ModelError(InputError):
    """A model spec, file or checkpoint that does not give a usable network."""


class DataError(InputError):
    """A data set that cannot be read, or does not fit what is asked of it."""


class TrustError(InputError):
    """Code or a pickle that has not been trusted; nothing of it has run."""


class MissingExtraError(InputError):
    """An optional dependency is absent; the hint is the line that installs it."""


class ArtifactError(CompressError):
    """A folder that should hold an artifact is damaged or cannot be written."""


class NotOursError(ArtifactError):
    """Something that we did not write stands where we would write; it is as it was."""

    exit_code = 2


class DivergenceError(CompressError):
    """Training met a NaN or exploded; says at which step, in which part, and what to try."""


class ParityError(CompressError):
    """An exported or converted model does not do what its source does."""


class MeasurementError(CompressError):
    """A model could not be run or timed under a profile."""


class ProcessLostError(CompressError):
    """Another process of a distributed training job has gone; the hint goes on from the kept state."""


class BudgetMissedError(CompressError):
    """Everything ran, but a budget that the user stated was missed."""

    exit_code = 1


class InterruptedRunError(CompressError):
    """Stopped by a signal; the state is kept and the hint resumes it."""

    exit_code = 130


# What a user's own code (a network, a loss, a data function) can raise; turned into one of ours at the edge where it runs.
FOREIGN_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
