"""Face boxes from a table of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapbench.data.boxes import read_boxes, with_boxes
from swapbench.data.protocol import open_data
from swapbench.errors import BadDataset


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "path,x,y,width,height\na/1.jpg,10,20,30,40\nb.jpg,,,,\n",
        "filename;bbox_x;bbox_y;bbox_w;bbox_h\na\\1.jpg;10;20;30;40\nb.jpg;;;;\n",
        "image\txmin\tymin\txmax\tymax\na/1.jpg\t10\t20\t40\t60\nb.jpg\t\t\t\t\n",
        "# made by a script\nFile Left Top Right Bottom\na/1.jpg 10 20 40 60\n",
        "name,x1,y1,x2,y2,score\na/1.jpg,10,20,40,60,0.9\n",
        "name,x0,y0,x1,y1\na/1.jpg,10,20,40,60\n",
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, text: str) -> None:
    boxes = read_boxes(table(tmp_path, text))
    assert boxes["a/1.jpg", 0] == (10, 20, 30, 40)
    assert boxes.get(("b.jpg", 0)) is None


def test_a_row_may_be_of_a_frame(tmp_path: Path) -> None:
    boxes = read_boxes(table(tmp_path, "path,frame,x,y,w,h\nv.avi,0,1,1,9,9\nv.avi,7,2,2,9,9\n"))
    assert boxes == {("v.avi", 0): (1, 1, 9, 9), ("v.avi", 7): (2, 2, 9, 9)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,x,y,z\na,1,2,3\n", r"lacks the columns right, bottom\. It needs path, x, y, width and height"),
        ("path,x,y,w,h\na,1,2,0,4\n", "line 2: box 1, 2, 0, 4 is empty"),
        ("path,x1,y1,x2,y2\na,9,2,3,4\n", "line 2: box 9, 2, -6.0, 2.0 is empty"),
        ("path,x,y,w,h\na,1,2,left,4\n", "line 2: box 1, 2, left, 4 is not four numbers"),
        ("path,x,y,w,h\na,1,2,3,4\na,1,2,3,5\n", "line 3: a has another box in an earlier line"),
        ("path,frame,x,y,w,h\na,-1,2,3,4,5\n", "line 2: frame '-1' is not a non-negative integer"),
        ("a,1,2,3,4\n", "has no header. Begin it with: path,x,y,width,height"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadDataset, match=complaint):
        read_boxes(table(tmp_path, text))


def test_a_thousand_equal_faults_are_one_line(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,1,2,0,4\n" for number in range(1000))
    with pytest.raises(BadDataset, match=r"1000 times: .*\(line 2, line 3, line 4 and 997 more\)"):
        read_boxes(table(tmp_path, "path,x,y,w,h\n" + rows))


def test_samples_take_the_box_of_their_file_and_the_basis_counts_them(tmp_path: Path) -> None:
    for name in ("live/1.jpg", "live/2.jpg", "spoof/1.jpg", "spoof/3.jpg"):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(b"")
    folds = open_data(tmp_path / "faces", splits=("dev", "test"), without_dev=True)
    # 1.jpg alone could be of either class; 3.jpg is of one file, and so is faces/live/1.jpg
    text = "path,x,y,w,h\n1.jpg,5,5,5,5\nfaces/live/1.jpg,1,1,9,9\n3.jpg,3,3,9,9\n"
    (changed,) = with_boxes(folds, table(tmp_path, text))
    assert {sample.name: sample.box for sample in changed.samples("test")} == {
        "live/1.jpg": (1, 1, 9, 9),
        "live/2.jpg": None,
        "spoof/1.jpg": None,
        "spoof/3.jpg": (3, 3, 9, 9),
    }
    assert changed.basis[-1] == "boxes.csv gives the face boxes of 2 of 4 frames"
    assert changed.digest() != folds[0].digest()
    with pytest.raises(
        BadDataset, match=r"no row of .*boxes.csv is of a file of faces\. .* such as live/1\.jpg"
    ):
        with_boxes(folds, table(tmp_path, "path,x,y,w,h\nother.jpg,5,5,5,5\n"))
