"""Decision systems: files, crops and frames that decide together, and what one decision of them costs."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from swapbench.records.quantities import Speed  # noqa: TC001 - pydantic needs the real type
from swapbench.records.values import Absent, FileName, Frozen, Interval

Fusion = Literal["mean", "logits", "product", "maximum"]
"""How the scores that members give to one frame become one: weighted mean of probabilities or of logits,
weighted product of probabilities, maximum."""
FrameRule = Literal["mean", "median", "vote", "sequential"]
"""How the scores of several frames become one; "sequential" may decide before the last."""

MEMBERS_AT_MOST = 8
FRAMES_AT_MOST = 1000


def _system_name(name: str) -> str:
    """A name that files can be called after."""
    if len(name) > 80 or not name.isprintable() or name.startswith("."):
        raise ValueError("a name has at most 80 printable characters and does not begin with a full stop")
    return name


SystemName = Annotated[FileName, AfterValidator(_system_name)]
ALWAYS: Final = "always"
"""An infinite margin in JSON, which has no such number."""
Margin = Annotated[
    float,
    BeforeValidator(lambda value: math.inf if value == ALWAYS else value),
    Field(ge=0),
    PlainSerializer(lambda value: ALWAYS if math.isinf(value) else value, when_used="json"),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Probability = Annotated[Finite, Field(gt=0, lt=0.5)]


class Member(Frozen):
    """A file of a system. Its crop is its card's.

    Attributes:
        file: its name; where it lies is said when it is used.
        sha256: of the file; "" for any file of that name.
        runtime: what it was chosen to run under; "" for any.
        weight: of its scores in a fusion; a member of weight 0 is never asked.
        reads: the output of the member before it that it takes in place of a crop, by its name; "" for a file
            that takes a crop. Only in a cascade, where the member before it has always been asked.
    """

    file: FileName
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    runtime: str = Field(default="", max_length=80)
    weight: Annotated[Finite, Field(ge=0, le=1e6)] = 1.0
    reads: str = Field(default="", max_length=200)


class Frames(Frozen):
    """The frames that a decision may see.

    Attributes:
        count: at most so many, the first of a presentation.
        rule: how their scores become one.
        apcer: of a sequential test, the share of attacks that it may accept (Wald's alpha).
        bpcer: of a sequential test, the share of bona fide that it may reject (Wald's beta).
    """

    count: int = Field(default=1, ge=1, le=FRAMES_AT_MOST)
    rule: FrameRule = "mean"
    apcer: Probability = 0.05
    bpcer: Probability = 0.05


class Evidence(Frozen):
    """From the score of a frame to the logarithm of its likelihood ratio, bona fide over attack.

    `slope * score + offset`; see `swapbench.systems.evidence`.
    """

    slope: Finite
    offset: Finite


class FrozenFold(Frozen):
    """What was frozen on the development split of one fold.

    Attributes:
        fold: its name, "" where there is only one.
        threshold: on the system's score.
        members: the threshold of each member alone, from which a cascade measures how sure it is.
        evidence: of a sequential test.
    """

    fold: str = ""
    threshold: Finite
    members: tuple[Finite, ...] = ()
    evidence: Evidence | None = None


class System(Frozen):
    """Files that decide together.

    Attributes:
        name: of the system.
        rule: of several members: a fusion, or a cascade, in which each member after the first is asked only
            where the score of the one before it was asked and lies less than `margin` from its threshold.
        members: one at least; a cascade has the cheap one first, then those that are asked in turn.
        margin: of a cascade; infinite: all are always asked.
        frames: that a decision may see.
        threshold_rule: how thresholds were chosen on development, such as "eer@dev".
        frozen: what was frozen there, fold by fold; () for a system that was not chosen yet.
    """

    name: SystemName
    rule: Fusion | Literal["cascade"] = "mean"
    members: tuple[Member, ...] = Field(min_length=1, max_length=MEMBERS_AT_MOST)
    margin: Margin | None = None
    frames: Frames = Frames()
    threshold_rule: str = Field(default="eer@dev", max_length=80)
    frozen: tuple[FrozenFold, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _consistent(self) -> System:
        cascade = self.rule == "cascade"
        if cascade != (self.margin is not None):
            raise ValueError('rule = "cascade" and margin = ... belong together')
        if cascade and len(self.members) < 2:
            raise ValueError("a cascade has two members or more, not 1")
        reading = [member.file for member in self.members if member.reads]
        if reading and not cascade:
            raise ValueError(f"{reading[0]} reads another member, which only a cascade allows")
        if self.members[0].reads:
            raise ValueError(f"{reading[0]} reads the member before it, and it is the first")
        if not sum(member.weight for member in self.members):
            raise ValueError("all weights are 0, so no member decides")
        if any(member.weight != 1 for member in self.members) and (cascade or self.rule == "maximum"):
            raise ValueError(f"the rule {self.rule} has no weights; leave them out")
        if cascade and self.frames.rule == "sequential":
            raise ValueError("a sequential test takes a fusion of its members, not a cascade")
        return self


class CostSummary(Frozen):
    """What decisions cost, over presentations.

    Attributes:
        presentations: how many.
        mean: arithmetic mean.
        p90: so much or less in nine of ten.
        worst: the most.
    """

    presentations: int
    mean: float
    p90: float
    worst: float


class DecisionCost(Frozen):
    """A cost of one decision: of all presentations and by class, attack species under their names.

    Attributes:
        all: over every presentation of the test data, in the mixture that they have there.
        interval: of the mean.
        bona_fide: over bona fide alone.
        species: over each attack species.
    """

    all: CostSummary
    interval: Interval | None = None
    bona_fide: CostSummary
    species: dict[str, CostSummary]


class MemberCost(Frozen):
    """What was known of a member when a decision was computed.

    Attributes:
        record: id of its record.
        run: of the record.
        time_ns: its median latency.
        energy_uj: above idle, of one inference; None where it is not known.
        asked: inferences of it in one decision, the mean over presentations.
    """

    record: str
    run: str
    time_ns: float
    energy_uj: float | None = None
    asked: float


class Gain(Frozen):
    """A system against its best member, on the same test presentations.

    Attributes:
        member: the one of the lowest ACER on the development split.
        member_acer: of that member on test.
        change: ACER of the system less that of the member.
        interval: of the change, people drawn again.
        only_system_right: presentations.
        only_member_right: presentations.
        p_value: McNemar's exact test that both are wrong equally often.
    """

    member: str
    member_acer: float
    change: float
    interval: Interval | None
    only_system_right: int
    only_member_right: int
    p_value: float


class Decision(Frozen):
    """One decision of a system: on which frames it rests and what it costs.

    Attributes:
        system: what decides.
        basis: "computed": from the records of its members; "measured": the system ran as a whole.
        members: in the order of the system.
        time_ns: computing time.
        energy_uj: above idle; absent where a member has none and no meter told it of the whole. Where one
            did, the mean is measured, and each decision has its share by time; how far that may be off stands
            with the meter's windows, so it has no interval.
        frames: that a decision used.
        fps: frames a second of a camera.
        latency_ns: from the first frame to the decision at that rate, waiting for frames included.
        alike: correlation of the scores of two frames of one presentation, within its class; None where
            presentations have one frame.
        gain: against the best member; None for a system of one.
        timed: of a system that ran as a whole: every decision that was timed, in the sitting of its members.
        computed_time_ns: mean time that the members' own records say, where the system was measured.
        computed_energy_uj: the same of energy.
    """

    system: System
    basis: Literal["computed", "measured"]
    members: tuple[MemberCost, ...]
    time_ns: DecisionCost
    energy_uj: DecisionCost | Absent
    frames: DecisionCost
    fps: float | None = Field(default=None, gt=0)
    latency_ns: DecisionCost | Absent
    alike: float | None = None
    gain: Gain | None = None
    timed: Speed | None = None
    computed_time_ns: float | None = None
    computed_energy_uj: float | None = None
