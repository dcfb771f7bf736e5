"""The TOML table of a study, and the trainings that it stands for.

    seeds = [1, 2, 3]
    domains = ["A", "B", "C", "D"]    # each left out of the training data once: B+C+D:A, ...
    schedule = "smallest"             # of all arms that name none; so do the options of the data

    [arms.alone]
    network = "minifasnet_v2"

    [arms.distilled]
    network = "minifasnet_v2"
    recipe = "distill"
    teacher = ["resnet18_map"]

An arm has the options of `swapbench train` under their names. docs/studies.md describes the rest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path  # noqa: TC003 - pydantic needs the real types at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationError, model_validator

from swapbench.cards import first_problem, read_card
from swapbench.commands.options import DataOptions, command_line
from swapbench.commands.train import TrainRequest, read_recipe, taught_by, teacher_cards
from swapbench.errors import UserError
from swapbench.files import content_of, file_sha256, parsed_toml, toml_text, write_atomically
from swapbench.records import Frozen
from swapbench.records.values import plain_file_name
from swapbench.study.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from swapbench.catalog import Folders
    from swapbench.workshop.recipes.recipe import TrainRecipe

TRAININGS_AT_MOST: Final = 10_000
_KEY_SHOWN: Final = 8


def _plain(name: str) -> str:
    plain_file_name(name)
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        raise ValueError("a name has letters, digits, - and _ only")
    return name


Name = Annotated[str, AfterValidator(_plain)]


class Arm(Frozen):
    """One way to train, for every domain and every seed.

    Attributes:
        network: recipe of the network, as everything here up to `teacher` an option of `swapbench train`.
        recipe: method on top of it.
        macs: budget of a pruning.
        channel_multiple: of the widths of a pruning.
        schedule: how much training to spend.
        latency_table: for a budget in time.
        latency_ms: budget in time.
        teacher: trained models to learn from.
        seeds: instead of the study's.
        beside: an arm whose trained network lies beside this one's, of the same domain, and of the same seed
            or else of that arm's first: what magnitude pruning cuts, or a teacher.
        after: an arm whose training of the same domain and seed comes first, because both share work.
        search_once: the widths that a search finds with the first seed are trained with the other seeds.
    """

    network: str
    recipe: str | None = None
    macs: str | None = None
    channel_multiple: int | None = Field(default=None, ge=1)
    schedule: str | None = None
    latency_table: Path | None = None
    latency_ms: float | None = Field(default=None, gt=0)
    teacher: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    beside: Name | None = None
    after: Name | None = None
    search_once: bool = False


class Study(Frozen):
    """A table of trainings.

    Attributes:
        name: "" takes the name of the file.
        seeds: each arm is trained with each of them.
        domains: each is left out of the training data once; none trains on all data.
        protocol: of the data, where no domains are left out.
        schedule: of arms that name none.
        cores: of the processor that each training keeps busy.
        arms: by name; the first is what the others are compared with.
        data: as in DataOptions, as are the fields below.
    """

    name: str = ""
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    domains: tuple[Name, ...] = ()
    protocol: str | None = None
    schedule: str | None = None
    cores: int = Field(default=1, ge=1)
    arms: dict[Name, Arm] = Field(min_length=1)
    data: Path | None = None
    data_root: Path | None = None
    frames: int | None = Field(default=None, ge=1)
    faces: str | None = None
    images: Path | None = None
    boxes: Path | None = None
    detector: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Study:
        if self.domains and self.protocol is not None:
            raise ValueError("domains and protocol cannot be combined: domains make the protocols")
        if len(self.domains) == 1:
            raise ValueError("domains has one name; each is left out once, so there must be others")
        for what, values in (("seeds", self.seeds), ("domains", self.domains)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what} names one twice")
        for name, arm in self.arms.items():
            for other in filter(None, (arm.beside, arm.after)):
                if other not in self.arms or other == name:
                    raise ValueError(f"arm {name} refers to {other}, which is no other arm")
        count = sum(len(self.seeds_of(name)) for name in self.arms) * max(len(self.domains), 1)
        if count > TRAININGS_AT_MOST:
            raise ValueError(f"it has {count} trainings, more than {TRAININGS_AT_MOST}")
        return self

    def with_schedule(self, schedule: str | None) -> Study:
        """The study with another schedule in the place of its own; None keeps it."""
        return self if schedule is None else self.replace(schedule=schedule)

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds of an arm."""
        return self.arms[arm].seeds or self.seeds

    def data_options(self, domain: str) -> DataOptions:
        """What is trained on without a domain; "" leaves none out."""
        protocol = self.protocol
        if domain:
            protocol = "+".join(other for other in self.domains if other != domain) + f":{domain}"
        given = {
            option.name: value
            for option in fields(DataOptions)
            if option.name != "protocol" and (value := getattr(self, option.name)) is not None
        }
        return DataOptions(protocol=protocol, **given)


def study_in(path: Path) -> Study | None:
    """The study in a TOML file; None where the file has no arms, and so is a recipe.

    Raises:
        UserError: it has arms, but is no study; the message names the field.
    """
    table = parsed_toml(toml_text(path, "study"), path)
    if "arms" not in table:
        return None
    try:
        study = Study.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error, Study)}") from error
    return study if study.name else study.replace(name=path.stem)


@dataclass(frozen=True)
class Training:
    """One training of a study: where it stands in the table, and its job."""

    arm: str
    domain: str
    seed: int
    job: Job


def trainings(study: Study, folders: Folders, out: Path) -> tuple[Training, ...]:
    """All trainings of a study: an arm on every domain before the next, seed by seed.

    Raises:
        UnknownName: a recipe, method, schedule or teacher is not known.
        UserError: options of an arm contradict each other.
    """
    maker = _Maker(study, folders, out)
    for arm, domain, seed in _order(study):
        maker.made[arm, domain, seed] = maker.training(arm, domain, seed)
    return tuple(maker.made.values())


def _order(study: Study) -> Iterator[tuple[str, str, int]]:
    """What an arm refers to comes before it; UserError where arms refer to each other in a circle."""
    arms: list[str] = []
    left = dict(study.arms)
    while left:
        ready = [
            name
            for name, arm in left.items()
            if not {other for other in (arm.beside, arm.after) if other in left}
        ]
        if not ready:
            raise UserError(f"the arms {', '.join(left)} refer to each other in a circle")
        arms.append(ready[0])
        del left[ready[0]]
    for seed in dict.fromkeys(seed for arm in arms for seed in study.seeds_of(arm)):
        for arm in arms:
            if seed in study.seeds_of(arm):
                for domain in study.domains or ("",):
                    yield arm, domain, seed


@dataclass(frozen=True)
class _Read:
    """What is the same for all trainings of an arm.

    Attributes:
        recipe: with everything that the arm lays over it.
        stem: of the card's file name.
        content: of the recipe and of all files that it names, as JSON values.
    """

    recipe: TrainRecipe
    stem: str
    content: dict[str, Any]


@dataclass(frozen=True)
class _Maker:
    """Makes a training from those that were `made` before it."""

    study: Study
    folders: Folders
    out: Path
    made: dict[tuple[str, str, int], Training] = field(default_factory=dict)
    arms: dict[str, _Read] = field(default_factory=dict)

    def training(self, arm: str, domain: str, seed: int) -> Training:
        wanted = self.study.arms[arm]
        request = self._request(wanted, domain, seed)
        if arm not in self.arms:
            self.arms[arm] = self._read(arm, request)
        read = self.arms[arm]
        beside = self._other(wanted.beside, domain, seed)
        after = self._other(wanted.after, domain, seed)
        first = self.study.seeds_of(arm)[0]
        searched = self.made[arm, domain, first] if wanted.search_once and seed != first else None
        before = [one for one in (beside, after, searched) if one is not None]
        key = _key(
            {
                **read.content,
                "seed": seed,
                "data": asdict(request.data),
                "before": [one.job.key for one in (beside, searched) if one is not None],
            }
        )
        name = ".".join(filter(None, (arm, domain, f"seed{seed}")))
        folder = self.out / "trainings" / f"{name}-{key[:_KEY_SHOWN]}"
        if searched is not None:
            request = replace(request, network=str(folder / "recipe.toml"), recipe=None, macs=None)
            request = replace(request, channel_multiple=None, schedule=None, teacher=())
            request = replace(request, latency_table=None, latency_ms=None)
        job = Job(
            name=name,
            group=f"{arm}{'' if searched is None else ' again'}",
            key=key,
            words=(
                *("train", *command_line(request)),
                *("--threads", str(self.study.cores), "--missing", "--out", str(folder)),
            ),
            folder=folder,
            stem=read.stem,
            cores=self.study.cores,
            after=tuple(dict.fromkeys(one.job.name for one in before)),
            prepare=_prepared(folder, read.recipe, beside, searched),
        )
        return Training(arm, domain, seed, job)

    def _request(self, wanted: Arm, domain: str, seed: int) -> TrainRequest:
        return TrainRequest(
            wanted.network,
            self.study.data_options(domain),
            recipe=wanted.recipe,
            macs=wanted.macs,
            channel_multiple=wanted.channel_multiple,
            schedule=wanted.schedule or self.study.schedule,
            seed=seed,
            latency_table=wanted.latency_table,
            latency_ms=wanted.latency_ms,
            teacher=wanted.teacher,
        )

    def _read(self, arm: str, request: TrainRequest) -> _Read:
        try:
            recipe = read_recipe(self.folders, request)
            content = {
                "recipe": recipe.model_dump(mode="json"),
                "teachers": self._teachers(recipe),
                "files": _digests([path for path in (request.latency_table,) if path is not None]),
            }
        except UserError as error:
            raise UserError(f"arm {arm}: {error.args[0]}", remedy=error.remedy) from error
        return _Read(recipe, _stem(recipe), content)

    def _other(self, arm: str | None, domain: str, seed: int) -> Training | None:
        if arm is None:
            return None
        seeds = self.study.seeds_of(arm)
        return self.made.get((arm, domain, seed)) or self.made[arm, domain, seeds[0]]

    def _teachers(self, recipe: TrainRecipe) -> dict[str, str | None]:
        """The digests of the teachers' checkpoints; None for one that another arm trains first."""
        names = recipe.distillation.teachers if recipe.distillation is not None else ()
        stems = {one.job.stem for one in self.made.values()}
        found: dict[str, str | None] = {name: None for name in names if name in stems}
        others = [name for name in names if name not in found]
        if others:
            cards = teacher_cards(taught_by(recipe, others), self.folders, self.out)
            found |= {name: read_card(path).checkpoint_sha256 for name, path in cards.items()}
        return found


def _stem(recipe: TrainRecipe) -> str:
    if recipe.pruning is None:
        return recipe.stem
    from swapbench.workshop.recipes.recipe import label

    return f"{recipe.name}.{label(recipe)}"


def _key(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _digests(paths: list[Path]) -> list[str]:
    try:
        return [file_sha256(path) for path in paths]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def _prepared(
    folder: Path, recipe: TrainRecipe, beside: Training | None, searched: Training | None
) -> Callable[[], None] | None:
    """What must be in a training's folder before it begins, from trainings before it."""
    if beside is None and searched is None:
        return None

    def prepare() -> None:
        if beside is not None:
            copy_network(beside.job, folder)
        if searched is not None:
            write_found_widths(recipe, searched.job.card, folder / "recipe.toml")

    return prepare


def copy_network(job: Job, folder: Path) -> None:
    """Bring the card and the checkpoint of a job into another folder."""
    for path in (job.checkpoint, job.card):
        write_atomically(folder / path.name, content_of(path))


def write_found_widths(recipe: TrainRecipe, card: Path, path: Path) -> None:
    """Write the recipe that trains the widths of a card, which a search found by `recipe`."""
    import tomli_w

    from swapbench.workshop.prune.pruning import with_widths

    channels = tuple(read_card(card).architecture["channels"])
    found = with_widths(recipe, channels).model_dump(mode="json", exclude_none=True)
    write_atomically(path, tomli_w.dumps(found))
