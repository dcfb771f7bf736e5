"""The studies: which arms are trained on what, with which seeds. What they answer is fixed beforehand.

Recipes are the bundled ones with changes, written below build/decide; a training's key is a digest of the
whole content, so evidence of a recipe that has changed since is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from benchmarks.decide import worlds
from benchmarks.decide.worlds import ROOT, Data
from swapbench.commands.study_table import Arm, Study
from swapbench.files import write_atomically
from swapbench.workshop.recipes.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DOMAINS: Final = ("A", "B", "C", "D")
SPECIES: Final = ("print", "replay")
TARGETS: Final = (*DOMAINS, *SPECIES)
WEIGHTS: Final = (0.1, 0.3, 1.0, 3.0)
MACS: Final = "14M"
SMALL_PX: Final = 48
RANKED: Final = 24
RANK_DOMAIN: Final = "D"
WORK: Final = ROOT / "build" / "decide"
_RECIPES, _METHODS = ROOT / "models" / "recipes", ROOT / "models" / "recipes" / "methods"
_NATIVE_PX, _SENSORS_PX = 144, 96
_LATE = {"mmd_from": 1 / 3, "mmd_full": 0.5}


@dataclass(frozen=True)
class Planned:
    """A study and what it is tested on.

    Attributes:
        study: the table.
        data: that it is trained on.
        keeps_scores: whether the scores of the test presentations are kept, to pair over people.
        questions: arms that are held against each other, the first less the second.
    """

    study: Study
    data: Data
    keeps_scores: bool = False
    questions: tuple[tuple[str, str], ...] = ()


def _written(kind: str, name: str, content: Mapping[str, Any]) -> str:
    path = WORK / kind / f"{name}.toml"
    write_atomically(path, tomli_w.dumps(content))
    return str(path.relative_to(ROOT))


def _recipe(base: str, name: str, **changes: Any) -> str:
    """A bundled recipe under another name with changes; `px` changes the size of its input."""
    px, batch, epochs = (changes.pop(key, None) for key in ("px", "batch", "epochs"))
    text = read_recipe(_RECIPES / f"{base}.toml").model_dump(mode="json", exclude_none=True)
    if px is not None:
        text["preprocessing"] |= {"width_px": px, "height_px": px}
        if "size_px" in text["architecture"]:
            text["architecture"]["size_px"] = px
        whole = sum(phase["epochs"] for phase in text["phases"])
        text["phases"] = [{"size_px": px, "epochs": whole, "batch": text["phases"][0]["batch"]}]
    for phase in text["phases"]:
        phase |= {key: value for key, value in (("batch", batch), ("epochs", epochs)) if value is not None}
    text["architecture"] |= changes.pop("architecture", {})
    return _written("recipes", name, {**text, "name": name, **changes})


def _method(name: str, **content: Any) -> str:
    return _written("methods", name, {"recipe": name, **content})


def _distil(name: str, **changes: Any) -> str:
    """The bundled distillation with changes, learning from one teacher."""
    base = read_recipe(_RECIPES / "minifasnet_v2.toml", _METHODS / "distill.toml").distillation
    assert base is not None
    return _method(name, distillation={**base.model_dump(mode="json"), **changes})


def _schedule(name: str, epochs: float) -> str:
    return _written("schedules", name, {"epochs": epochs})


def _shorter() -> str:
    """The epochs of the schedule `small`, with the recipe's own search."""
    return _schedule("shorter", 0.4)


def _study(name: str, data: Data, arms: Mapping[str, Arm], **fields: Any) -> Study:
    return Study(name=name, data=data.folder, images=data.images, arms=dict(arms), **fields)


def _teacher(name: str, *modalities: str, px: int = _NATIVE_PX) -> str:
    """ResNet-18 at the faces' own resolution with a view of the high-pass residual, and averaged weights."""
    architecture: dict[str, Any] = {"high_pass": True}
    if modalities:
        architecture["modalities"] = list(modalities)
    changes = {"architecture": architecture, "choose": "last", "average": 0.99}
    return _recipe("resnet18_map", name, px=px, **changes)


def _teachers() -> Planned:
    arms = {
        "student": Arm(network=_recipe("minifasnet_v2", "student", choose="last")),
        "native": Arm(network=_recipe("resnet18_map", "native", px=_NATIVE_PX, choose="last")),
        "high_pass": Arm(network=_teacher("high_pass")),
    }
    study = _study("teachers", worlds.SLICE, arms, seeds=(1, 2, 3), schedule="small")
    questions = (("native", "student"), ("high_pass", "student"), ("high_pass", "native"))
    return Planned(study, worlds.SLICE, keeps_scores=True, questions=questions)


def _distillation(name: str, data: Data) -> Planned:
    alone = _recipe("minifasnet_v2", "alone", choose="last", views=8)
    taught = _recipe("minifasnet_v2", "taught", choose="last")
    method = _distil("distilled", views=8, teachers={"teacher": 1.0})
    short, full = _schedule("epochs4", 4 / 28), _schedule("epochs28", 1.0)
    arms = {"teacher": Arm(network=_teacher("teacher"), schedule=full, seeds=(1,))}
    for label, schedule in (("4", short), ("28", full)):
        arms[f"alone{label}"] = Arm(network=alone, schedule=schedule)
        arms[f"distilled{label}"] = Arm(
            network=taught, recipe=method, teacher=("teacher",), beside="teacher", schedule=schedule
        )
    study = _study(f"distillation-{name}", data, arms, seeds=(1, 2, 3, 4, 5))
    questions = [(f"distilled{label}", f"alone{label}") for label in ("4", "28")]
    questions += [(arm, "teacher") for arm in ("alone28", "distilled28", "distilled4")]
    return Planned(study, data, keeps_scores=True, questions=tuple(questions))


def _modalities(name: str, domains: tuple[str, ...]) -> Planned:
    arms: dict[str, Arm] = {"labels": Arm(network=_recipe("minifasnet_v2", "labels", choose="last", views=8))}
    student = _recipe("minifasnet_v2", "seeing", choose="last")
    for kind, modalities in {"rgb": (), "depth": ("depth",), "nir": ("nir",)}.items():
        teacher = f"teacher_{kind}"
        arms[teacher] = Arm(network=_teacher(teacher, *modalities, px=_SENSORS_PX))
        method = _distil(f"from_{kind}", views=8, teachers={teacher: 1.0})
        arms[f"from_{kind}"] = Arm(network=student, recipe=method, teacher=(teacher,), beside=teacher)
    study = _study(name, worlds.SENSORS, arms, seeds=(1, 2, 3), domains=domains, schedule="small")
    pairs = (("rgb", "labels"), ("depth", "rgb"), ("nir", "rgb"), ("depth", "labels"), ("nir", "labels"))
    questions = [(f"from_{one}", other if other == "labels" else f"from_{other}") for one, other in pairs]
    questions += [(f"teacher_{kind}", "teacher_rgb") for kind in ("depth", "nir")]
    return Planned(study, worlds.SENSORS, keeps_scores=True, questions=tuple(questions))


def _small() -> str:
    changes = {"batch": 96, "stratified": True, "choose": "last", "learning_rate": 0.003}
    return _recipe("mobilefacenet", "small", px=SMALL_PX, **changes)


def _search(weight: float) -> dict[str, Any]:
    return {
        "method": "metapruning",
        "epochs": 70,  # 28 under the schedule
        "batch": 96,
        "held_out": True,
        "judge": "auc",
        "least": 0.95,
        "calibration_images": 96,
        "search_images": 320,
        "mmd_training": weight,
        "mmd_search": weight,
        "mmd_noise": 0.2,
        "search": {"generations": 6, "population": 50, "parents": 10, "mutations": 20, "crossovers": 20},
    }


def _left_out(target: str) -> tuple[Data, dict[str, Any]]:
    """The data of a target, and the fields of a study that keep it out of training."""
    if target in SPECIES:
        return worlds.WITHOUT[target], {}
    return worlds.SMALL, {"protocol": "+".join(each for each in DOMAINS if each != target) + f":{target}"}


def _weights(target: str) -> Planned:
    """Weights of the discrepancy, judged on sources that are left out one by one: the target is not seen."""
    data, _ = _left_out(target)
    arms = {}
    for kind, over in (("live", "bona_fide"), ("class", "each_class")):
        for weight in WEIGHTS:
            name = f"{kind}{weight:g}".replace(".", "_")
            pruning = {"method": "uniform"}
            method = _method(name, mmd_over=over, mmd_weight=weight, **_LATE, pruning=pruning)
            arms[name] = Arm(network=_small(), recipe=method, macs=MACS)
    sources = tuple(domain for domain in DOMAINS if domain != target)
    study = _study(f"weights-{target}", data, arms, seeds=(1,), domains=sources, schedule=_shorter())
    return Planned(study, data)


def decision(target: str, weights: Mapping[str, float]) -> Planned:
    """Five ways to the budget without a domain or a species.

    Args:
        target: what is left out.
        weights: of the discrepancy, for `live` and `class`, as `weights-TARGET` chose them.
    """
    data, fields = _left_out(target)
    arms = {
        "uniform": Arm(network=_small(), recipe="uniform", macs=MACS),
        "metapruning": Arm(network=_small(), recipe=_method("metapruning", pruning=_search(0.0)), macs=MACS),
    }
    for kind, over in (("live", "bona_fide"), ("class", "each_class")):
        weight = weights[kind]
        name = f"metammd_{kind}"
        content = {"mmd_over": over, "mmd_weight": weight, **_LATE, "pruning": _search(weight)}
        arms[name] = Arm(network=_small(), recipe=_method(f"{name}_{target}", **content), macs=MACS)
    flat = _method("flat", flat={"radius": 0.05, "by_domain": True}, pruning={"method": "uniform"})
    arms["flat"] = Arm(network=_small(), recipe=flat, macs=MACS)
    seeds = tuple(range(1, 11))
    study = _study(f"decide-{target}", data, arms, seeds=seeds, schedule=_shorter(), **fields)
    return Planned(study, data)


def ranking(held_out: str, ranked: Sequence[Sequence[int]]) -> Planned:
    """Structures of a search without RANK_DOMAIN, trained without the source on which it judged them.

    Args:
        held_out: that source.
        ranked: channel lists, from the best fitness to the worst.
    """
    sources = [each for each in DOMAINS if each not in {RANK_DOMAIN, held_out}]
    arms = {}
    for number, channels in enumerate(ranked):
        changes = {"batch": 96, "stratified": True, "choose": "last", "learning_rate": 0.003}
        architecture = {"channels": list(channels)}
        name = f"rank{number:02d}"
        recipe = _recipe("mobilefacenet", name, px=SMALL_PX, architecture=architecture, **changes)
        arms[name] = Arm(network=recipe)
    protocol = f"{'+'.join(sources)}:{held_out}"
    study = _study("rank", worlds.SMALL, arms, seeds=(1,), schedule=_shorter(), protocol=protocol)
    return Planned(study, worlds.SMALL)


FIXED: Final[dict[str, Callable[[], Planned]]] = {
    "teachers": _teachers,
    "distillation-few": lambda: _distillation("few", worlds.FEW),
    "distillation-all": lambda: _distillation("all", worlds.ALL),
    "modalities": lambda: _modalities("modalities", ()),
    "modalities-unseen": lambda: _modalities("modalities-unseen", DOMAINS),
    **{f"weights-{target}": (lambda target=target: _weights(target)) for target in TARGETS},
}
"""Studies that wait for nothing."""

NAMES: Final = (*FIXED, "rank", *(f"decide-{target}" for target in TARGETS))
