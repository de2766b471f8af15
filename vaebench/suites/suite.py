"""The typed form of a suite: what is compared, on what, how long it is trained, how it is measured, what is claimed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from vaebench.core.validation import Name, Positive, Text

Scalar = bool | int | float | str
Above = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, lt=1)]
USUAL_SHARES = (0.125, 0.25, 0.5)
Seed = Annotated[int, Meta(ge=0, lt=2**53)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a suite's file; a key that it does not know is an error."""


class Dataset(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The images: a registered dataset and its options."""

    name: Name
    options: dict[str, Scalar] = field(default_factory=dict)


class Model(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is compared: a recipe that is trained here, a model from elsewhere, or a folder of images.

    Attributes:
        recipe: a registered name or ``./file.py:function``, with ``settings`` as ``--set`` takes them.
        model: what ``evaluate --model`` takes, such as ``diffusers:DIR``.
        images: what ``evaluate --images`` takes.
        name: in the tables; of a recipe with settings in place of its long name, of others what they need.
        paired: how images and the dataset's belong together: ``name``, ``position``, or empty where they do not.
        epochs, steps: of this recipe alone, in place of the budget.
    """

    recipe: str = ""
    model: str = ""
    images: str = ""
    name: str = ""
    paired: str = ""
    settings: dict[str, Scalar | list[Scalar]] = field(default_factory=dict)
    epochs: Positive | None = None
    steps: Positive | None = None


class Budget(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long every recipe is trained: one of these, or each recipe's own epochs where nothing is given.

    With a budget, models are kept and measured at parts of their trainings too, so that the report lays quality against
    compute.

    Attributes:
        epochs: passes over the training images.
        steps: optimisation steps.
        images: images seen, all steps together.
        flops: floating-point operations of training, counted.
        seconds: on this device, measured by a trial.
        snapshots: the parts; by default 1/8, 1/4 and 1/2 where a budget is given, else none.
        metrics: that models are measured by there, of the evaluation's; empty: those that are looked for first.
    """

    epochs: Positive | None = None
    steps: Positive | None = None
    images: Positive | None = None
    flops: Above | None = None
    seconds: Above | None = None
    snapshots: list[Share] | None = None
    metrics: list[str] = field(default_factory=list)

    @property
    def shares(self) -> tuple[float, ...]:
        """The parts of each training after which the model is kept and measured."""
        usual = USUAL_SHARES if self.given else ()
        return usual if self.snapshots is None else tuple(self.snapshots)

    @property
    def given(self) -> dict[str, float]:
        """What is given, by name."""
        parts = {name: getattr(self, name) for name in ("epochs", "steps", "images", "flops", "seconds")}
        return {name: value for name, value in parts.items() if value is not None}


class Compute(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How trainings run, where that must be the same on every machine; what is not given is measured."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Positive | None = None


class Evaluation(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the models are measured.

    Attributes:
        metrics: names; empty: all.
        samples: that each model draws.
        options: metric -> option -> value.
        shared: options for every metric that has them.
    """

    metrics: list[str] = field(default_factory=list)
    samples: Positive = 10_000
    options: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    shared: dict[str, Scalar] = field(default_factory=dict)


class Study(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A look into latent space: a command, the models that it looks into, its options."""

    study: str
    models: list[str]
    options: dict[str, Scalar] = field(default_factory=dict)


class Claim(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence, where the source says it, what the source printed, and what it means in vaebench's terms."""

    says: Text
    claim: Text
    where: Text = ""
    published: Text = ""


class Suite(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benchmark as a file.

    Attributes:
        title: of the benchmark.
        source: what it follows, as one would cite it.
        dataset: that all models are compared on.
        models: what is compared.
        seeds: of every recipe's trainings.
        data: the training images in words, for who reads along.
        next: commands that are worth trying when it is done.
    """

    title: Text
    source: Text
    dataset: Dataset
    models: Annotated[list[Model], Meta(min_length=1)]
    seeds: Annotated[list[Seed], Meta(min_length=1)] = field(default_factory=lambda: [0])
    data: Text = ""
    next: list[Text] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)
    compute: Compute = field(default_factory=Compute)
    evaluation: Evaluation = field(default_factory=Evaluation)
    studies: list[Study] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)


class Located(Struct, frozen=True):
    """A suite with its name, its file, and where in the file its parts stand."""

    name: str
    path: Path
    suite: Suite
    lines: dict[tuple[str | int, ...], int]

    def place(self, *keys: str | int) -> str:
        """Return ``FILE:LINE`` of a key, or of the nearest table around it."""
        return f"{self.path}:{line_of(self.lines, keys)}"


def line_of(lines: dict[tuple[str | int, ...], int], keys: Sequence[str | int]) -> int:
    """Return the line of a key, or of the nearest table around it that has one."""
    for count in range(len(keys), 0, -1):
        if (line := lines.get(tuple(keys[:count]))) is not None:
            return line
    return 1
