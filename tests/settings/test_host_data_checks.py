from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.settings.sample import write_checkpoint
from tests.tasks import HEADS, LABELS, write_model, write_task_data
from yolo_subbatch.errors import DataError, SettingsError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.checks import raise_errors
from yolo_subbatch.settings.command_checks import check_convert, check_map, check_predict, check_val
from yolo_subbatch.settings.commands import ConvertSettings, ExportSettings, MapSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.export_checks import check_export
from yolo_subbatch.settings.host_data_checks import check_host_data, task_label_fault
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate


@pytest.mark.parametrize("task", HEADS)
def test_the_data_of_every_task_is_accepted(tmp_path: Path, task: str) -> None:
    data, model = write_task_data(tmp_path, task), write_model(tmp_path, task)
    assert host_files.task_of(model) == task
    for split in ("train", "val", "test"):
        assert check_host_data(str(data), task, [split]) == []
    assert validate(TrainSettings(model=str(model), data=str(data))) == []


def test_the_task_of_a_checkpoint_is_known_by_its_network(tmp_path: Path) -> None:
    for name, task in host_files.MODELS.items():
        path = tmp_path / "x.pt"
        write_checkpoint(path, f"ultralytics.nn.tasks\n{name}\nq\x01c")
        assert host_files.task_of(path) == task
    for name, task in {"yolo26n-pose.pt": "pose", "yolov8n-cls.yaml": "classify", "yolo26n.pt": "detect"}.items():
        assert host_files.task_of(name) == task


def test_ultralytics_has_no_other_tasks() -> None:
    from ultralytics.cfg import TASKS

    assert set(TASKS) <= set(HEADS)


@pytest.mark.parametrize(
    ("task", "line", "words"),
    [
        ("pose", LABELS["detect"], "5 columns; write class, centre x, centre y, width, height, and x, y, visible of 3"),
        ("pose", LABELS["pose"].replace("0.7", "1.7", 1), "from 0 to 1"),
        ("pose", "2" + LABELS["pose"][1:], "class 2, but there are 2 classes (0 to 1)"),
        ("obb", LABELS["detect"], "5 columns; write class, and x, y of four corners"),
        ("obb", LABELS["obb"].replace("0.3", "nan", 1), "from 0 to 1"),
        ("segment", "0 .1 .1 .2", "4 columns; write class, and x, y of an outline"),
        ("detect", "0 .1 .1 .2 x", "is not all numbers"),
        ("detect", "0,.1,.1,.2,.2", "1 columns"),
    ],
)
def test_a_label_of_another_task_is_named(task: str, line: str, words: str) -> None:
    assert words in str(task_label_fault(line.split(), task, 2, (3, 3)))
    assert task_label_fault(LABELS[task].split(), task, 2, (3, 3)) is None


def test_how_visible_a_keypoint_is_is_no_coordinate() -> None:
    assert task_label_fault(LABELS["pose"].split(), "pose", 2, (3, 3)) is None
    assert "from 0 to 1" in str(
        task_label_fault([*LABELS["detect"].split(), "0.1", "0.2", "2", "0.4"], "pose", 2, (2, 2))
    )


def test_some_unusable_labels_are_a_warning_and_all_of_them_an_error(tmp_path: Path) -> None:
    data = write_task_data(tmp_path, "pose")
    (tmp_path / "labels" / "train" / "1.txt").write_text(LABELS["detect"])
    (found,) = check_host_data(str(data), "pose", ["train"])
    assert found.level == "warning"
    assert "1.txt:1: 5 columns" in found.text
    assert "1 of 4 label files of train are unusable, and Ultralytics leaves their images out" in found.text
    data.write_text(data.read_text().replace("[3, 3]", "[4, 3]"))
    with pytest.raises(SettingsError, match=r"14 columns.*\(and so in all 2 label files of val\)"):
        raise_errors(check_host_data(str(data), "pose", ["val"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kpt_shape: [3, 3]\n", ""), "no kpt_shape; give"),
        (("kpt_shape: [3, 3]", "kpt_shape: [3, 4]"), "kpt_shape: [3, 4]; give"),
        (("names: [cat, dog]\n", ""), "no class names"),
        (("val: images/val\n", ""), "no 'val' images"),
        (("val: images/val", "val: images/none"), "does not exist"),
    ],
)
def test_what_a_description_lacks_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    data = write_task_data(tmp_path, "pose")
    data.write_text(data.read_text().replace(*change))
    with pytest.raises(SettingsError, match="; ") as error:
        raise_errors(check_host_data(str(data), "pose", ["val"]))
    assert words in str(error.value)


def test_a_classifiers_folder_is_looked_into(tmp_path: Path) -> None:
    data = write_task_data(tmp_path / "d", "classify")
    (tmp_path / "x.yaml").write_text("train: a\n")
    shutil.rmtree(data / "test")
    cases = {
        str(tmp_path / "none"): "no such folder",
        str(tmp_path / "x.yaml"): "a classifier's data is a folder",
        str(data): "no folder test in it; add it, or give one of train, val",
        "": "needs more than the boxes of the built-in data set",
    }
    for given, words in cases.items():
        with pytest.raises(SettingsError, match=words):
            raise_errors(check_host_data(given, "classify", ["test"]))
    (data / "val").rename(data / "valid")
    assert check_host_data(str(data), "classify", ["train", "val"]) == []
    for image in (data / "valid").rglob("*.jpg"):
        image.with_suffix(".ppm").write_bytes(b"P6 1 1 255 abc")  # another format that Ultralytics reads
        image.unlink()
    assert check_host_data(str(data), "classify", ["val"]) == []
    for image in (data / "valid").rglob("*.ppm"):
        image.unlink()
    with pytest.raises(SettingsError, match="no image in a folder of a class"):
        raise_errors(check_host_data(str(data), "classify", ["val"]))


@pytest.mark.parametrize("data", ["imagenet10", "https://x.org/data.zip", "data.zip", "coco.ndjson"])
def test_what_only_ultralytics_finds_is_left_to_it(data: str) -> None:
    assert check_host_data(data, "classify", ["val"]) == []
    if data != "imagenet10":
        assert check_host_data(data, "pose", ["val"]) == []
    assert check_host_data("coco8-pose.yaml", "pose", ["val"]) == []


def test_a_darknet_data_file_says_nothing_of_keypoints(tmp_path: Path) -> None:
    (tmp_path / "obj.data").write_text("classes=1\ntrain=a.txt\n")
    with pytest.raises(SettingsError, match="says nothing of what a network for pose learns"):
        raise_errors(check_host_data(str(tmp_path / "obj.data"), "pose", ["train"]))


def test_commands_of_darknet_networks_name_what_to_use_instead(tmp_path: Path) -> None:
    data = str(write_task_data(tmp_path, "pose"))
    model = str(write_checkpoint(tmp_path / "best.pt", "ultralytics.nn.tasks\nPoseModel\nq\x01c"))
    assert check_val(ValSettings(model=model, data=data)).data == data
    for check, settings, words in (
        (check_map, MapSettings(model=model, data=data), "not a Darknet network, which this needs; use val"),
        (check_convert, ConvertSettings(model=model, to="x.weights"), "which Darknet's weights cannot hold"),
        (check_export, ExportSettings(model=model), "yolo export model="),
        (check_val, ValSettings(model=model, data=data, letterbox="darknet"), "leave letterbox out"),
        (check_predict, PredictSettings(model=model, source=data, letterbox="stretch"), "leave letterbox out"),
    ):
        with pytest.raises((SettingsError, DataError), match=words):
            check(settings)  # type: ignore[operator]
