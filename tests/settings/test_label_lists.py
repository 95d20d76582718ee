"""Images without a label file, and label files that are wrong: refused, left out or counted, and listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.sample import write_cfg, write_data, write_yaml
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.data_checks import check_data
from yolo_subbatch.settings.label_lists import LIST, MissingLabels, labelled, write_list, write_names
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_data(tmp_path, images=4)


def without(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "labels" / f"{name}.txt").unlink()


def images(folder: Path) -> list[Path]:
    return [folder / "images" / "train" / f"{index}.jpg" for index in range(4)]


def texts(**values: object) -> list[str]:
    return [problem.text for problem in validate(TrainSettings(**values)) if problem.level == "error"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "flavour", "training", "measuring"),
    [
        (None, "pjreddie", "error", "error"),
        (None, "alexeyab", "skip", "background"),
        (None, None, "skip", "background"),
        ("error", "alexeyab", "error", "error"),
        ("background", "pjreddie", "background", "background"),
        ("skip", "pjreddie", "skip", "skip"),
    ],
)
def test_what_an_image_without_labels_is(asked: str | None, flavour: str | None, training: str, measuring: str) -> None:
    missing = MissingLabels(asked, flavour)
    assert (missing.action(False), missing.action(True)) == (training, measuring)


def test_skipped_images_are_gone_and_background_stays(tmp_path: Path, data: Path) -> None:
    without(tmp_path, "train/1")
    (tmp_path / "labels" / "train" / "2.txt").write_text("")
    skipped = labelled(images(tmp_path), MissingLabels("skip"), measuring=False)
    assert [each.stem for each in skipped.images] == ["0", "2", "3"], "an empty file is an image without objects"
    assert [each.stem for each in skipped.labels] == ["0", "2", "3"]
    kept = labelled(images(tmp_path), MissingLabels("background"), measuring=False)
    assert kept.images == tuple(images(tmp_path))
    assert skipped.absent == kept.absent == (tmp_path / "images" / "train" / "1.jpg",)
    line = skipped.line("obj.data: train", MissingLabels("skip"), measuring=False)
    assert line == "obj.data: train: 1 of 4 images have no label file and are left out (missing_labels=skip)"
    assert "1 of 4 images have no label file and count as" in kept.line("x", MissingLabels("background"), False)


@pytest.mark.parametrize("asked", ["skip", "background", "error"])
def test_without_any_label_file_the_folder_is_missing(tmp_path: Path, data: Path, asked: str) -> None:
    without(tmp_path, *(f"train/{index}" for index in range(4)))
    with pytest.raises(DataError, match=r"3 other images: no label file .*put the folder of the labels there"):
        labelled(images(tmp_path), MissingLabels(asked), measuring=False)


def test_the_flavour_decides_for_a_run(tmp_path: Path, data: Path) -> None:
    plain = str(write_cfg(tmp_path))
    other = str(write_cfg(tmp_path, ("num=2", "num=2\niou_loss=ciou"), name="other.cfg"))
    without(tmp_path, "train/1", "val/2")
    both = texts(cfg=plain, data=str(data))
    assert len(both) == 2
    assert all("give missing_labels=skip or background" in text for text in both)
    assert texts(cfg=other, data=str(data)) == []
    assert texts(cfg=plain, data=str(data), flavour="alexeyab") == []
    assert texts(cfg=plain, data=str(data), missing_labels="skip") == []
    assert len(texts(cfg=other, data=str(data), missing_labels="error")) == 2
    assert texts(cfg=plain, data=str(data), resize=1.5) == [], "a key that tells the flavour: the engine decides"
    write_yaml(tmp_path)
    assert texts(cfg=plain, data="obj.yaml") == [], "as in Ultralytics"
    assert len(texts(cfg=plain, data="obj.yaml", missing_labels="error")) == 2
    assert "use one of error, skip, background" in texts(cfg=plain, missing_labels="none")[0]


@pytest.mark.parametrize("split", ["valid = val.txt\n", ""])
def test_a_run_that_measures_nothing_needs_no_validation_images(tmp_path: Path, data: Path, split: str) -> None:
    cfg = str(write_cfg(tmp_path))
    data.write_text(data.read_text().replace("valid = val.txt\n", split) + "test = none.txt\n")
    (tmp_path / "val.txt").write_text("none.jpg\n")
    off = {"cfg": cfg, "data": str(data), "extra": {"val": False}}
    assert texts(**off) == []
    usual = texts(cfg=cfg, data=str(data))
    assert ("not found" in usual[0]) if split else usual == [], "nothing is named to measure on"
    for more in ({"extra": {"val": True}}, {"patience": 5}, {"extra": {"split": "test"}}):
        assert texts(cfg=cfg, data=str(data), **more), "asked for"


def test_a_yaml_without_val_trains(tmp_path: Path, data: Path) -> None:
    (tmp_path / "obj.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    cfg = str(write_cfg(tmp_path))
    assert texts(cfg=cfg, data="obj.yaml") == []
    assert "no 'val' images" in texts(cfg=cfg, data="obj.yaml", extra={"val": True})[0]


def test_names_are_added_to_the_list_of_a_run(tmp_path: Path) -> None:
    assert LIST in write_names(tmp_path, [Path("a.jpg")])
    write_names(tmp_path, [Path("b.jpg"), Path("a.jpg")])
    assert (tmp_path / LIST).read_text() == "a.jpg\nb.jpg\n"


def test_every_wrong_line_is_listed_and_the_first_of_each_kind_is_told(tmp_path: Path, data: Path) -> None:
    for index in range(4):
        (tmp_path / "labels" / "train" / f"{index}.txt").write_text("0 1.2 .5 .1 .1\n\n0,.5,.5,.1,.1\n0 1.2 .5 .1 .1\n")
    (problem,) = [each for each in check_data(str(data)) if each.level == "error"]
    first, second, last = problem.text.splitlines()
    assert first.startswith(f"{tmp_path}/labels/train/0.txt:1: coordinates 1.2")
    assert "(8 such lines in 4 label files)" in first
    assert ":3: '0,.5,.5,.1,.1' has commas; put blanks" in second
    assert "(4 such lines in 4 label files)" in second
    assert last == "12 faults in the labels; all are in bad_labels.list"
    _, *lines = Path(LIST).read_text().splitlines()
    assert len(lines) == 12
    assert lines[0] == first.replace(" (8 such lines in 4 label files)", "")
    assert "which is replaced" in check_data(str(data))[0].text
    assert not Path("bad_labels2.list").exists()


def test_one_wrong_line_needs_no_list(tmp_path: Path, data: Path) -> None:
    (tmp_path / "labels" / "val" / "0.txt").write_text("0 50 50 20 30\n")
    (problem,) = check_data(str(data))
    assert problem.text.endswith("from 0 to 1: pixels divided by its width and height, percentages by 100")
    assert not Path(LIST).exists()


def test_a_list_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(LIST).write_text("mine\n")
    Path("bad_labels2.list").mkdir()
    assert write_list(["a"]) == "all are in bad_labels3.list"
    assert write_list(["b"]) == "all are in bad_labels3.list, which is replaced"
    assert Path(LIST).read_text() == "mine\n"
    assert Path("bad_labels3.list").read_text().splitlines()[1:] == ["b"]
