"""What a run says at its end besides its table."""

import made_records as made

from swapbench.commands.run import _border_notes, _unscored_notes
from swapbench.errors import BadCard
from swapbench.records import Absent, ModelCard, OutputMeaning, Preprocessing


def test_a_run_says_how_many_crops_leave_the_frame_once_for_files_alike() -> None:
    card = ModelCard(
        name="net",
        preprocessing=Preprocessing(width_px=80, height_px=80, crop_scale=1.5, border="reflect"),
        output=OutputMeaning(kind="logits"),
    )
    wide = card.replace(name="wide", preprocessing=card.preprocessing.replace(crop_scale=4.0, border="shift"))
    whole = card.replace(preprocessing=card.preprocessing.replace(face_box="frame"))
    records = [
        made.record(
            precision=precision,
            card=of,
            accuracy=made.accuracy({"print": (2, 100)}, 1, 50, frames=1200, crops_at_border=count),
        )
        for precision, of, count in (
            ("fp32", card, 821),
            ("int8", card, 821),
            ("fp32", wide, 1100),
            ("fp32", whole, 0),
            ("fp32", card, None),  # recorded before crops were counted
        )
    ]
    assert _border_notes(records) == [
        '821 of 1200 crops at crop_scale 1.5 leave the frame, where the card of net says border = "reflect".',
        '1100 of 1200 crops at crop_scale 4 leave the frame, where the card of wide says border = "shift".',
    ]


def test_a_run_says_what_would_give_files_an_accuracy_unless_a_failure_says_so() -> None:
    no_card = Absent(absent="the file has no model card", remedy="Give one with --card")
    misfit = Absent(absent="the card does not fit the file", remedy="Correct it.")
    hopeless = Absent(absent="several inputs cannot be scored")
    records = [
        made.record(named=name, accuracy=accuracy)
        for name, accuracy in (
            ("a.onnx", no_card),
            ("b.onnx", misfit),
            ("c.onnx", no_card),
            ("c.onnx", no_card),  # under another runtime
            ("d.onnx", hopeless),
        )
    ]
    assert _unscored_notes(records, [("b.onnx", BadCard(misfit.absent, remedy=misfit.remedy))]) == [
        "Not scored: a.onnx, c.onnx: the file has no model card. Give one with --card."
    ]
