from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.settings.sample import write_data, write_yaml
from yolo_subbatch.settings.data_checks import check_data


def errors(data: object, **options: object) -> list[str]:
    return [problem.text for problem in check_data(str(data), **options) if problem.level == "error"]  # type: ignore[arg-type]


def test_good_data_has_no_problems(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    assert check_data(str(data)) == []
    assert check_data(str(write_yaml(tmp_path))) == []
    assert check_data(None) == []
    assert check_data("shapes") == []


def test_keys_not_used_are_named_once(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    data.write_text(data.read_text() + "backup = backup/\ntop = 5\n")
    (problem,) = check_data(str(data))
    assert problem.level == "warning"
    assert problem.text.endswith("not used: top"), "backup is a usual key, and of detector train"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("train.txt", "none.txt", "no such file"),
        ("valid = val.txt\n", "", "no 'valid' list"),
        ("obj.names", "none.names", "no such file"),
        ("classes = 2", "classes = 3", "2 names for classes=3"),
        ("classes = 2", "classes = two", "whole number"),
        ("train =", "tarin =", "did you mean train"),
        ("train =", "train ", "no key = value"),
    ],
)
def test_a_fault_of_the_description_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    data = write_data(tmp_path)
    data.write_text(data.read_text().replace(old, new))
    (text,) = errors(data)
    assert words in text


def test_images_and_labels_are_looked_at(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    label = tmp_path / "labels" / "train" / "1.txt"
    for content, words in (("2 .5 .5 .1 .1", "class 2"), ("0 .5 .5", "3 columns"), ("0 .5 5 .1 .1", "fractions")):
        label.write_text(content)
        (text,) = errors(data)
        assert text.startswith(f"{label}:1: ")
        assert words in text
        assert errors(data, labels=False) == []
    label.unlink()
    assert "no label file" in errors(data)[0]
    (tmp_path / "images" / "val" / "0.jpg").unlink()
    assert len(errors(data)) == 2, "both splits are looked at"
    (tmp_path / "val.txt").write_text("\n")
    assert "empty" in errors(data)[1]


def test_a_split_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    assert "no 'test' list" in errors(data, splits=("test",))[0]
    assert errors(data, splits=("val",)) == []
    assert "no 'test' images" in errors(write_yaml(tmp_path), splits=("test",))[0]


def test_a_description_of_ultralytics_may_lack_labels_but_not_all(tmp_path: Path) -> None:
    write_data(tmp_path)
    data = write_yaml(tmp_path)
    (tmp_path / "labels" / "train" / "1.txt").unlink()
    assert errors(data) == []
    shutil.rmtree(tmp_path / "labels" / "train")
    assert "no label file" in errors(data)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", ":1: not valid YAML"),
        ("- a", "no keys"),
        ("train: images/train\nval: images/val\n", "no class names"),
        ("train: images/train\nval: images/val\nnc: 3\nnames: [a]\n", "1 names for nc: 3"),
        (
            "train: images/train\nval: images/val\nnames: {1: a, 2: b}\n",
            "numbered 1, 2; number the 2 classes from 0 to 1",
        ),
        (
            "path: 5\ntrain: images/train\nval: images/val\nnames: [a, b]\n",
            "path: 5: not of the right kind; give a text",
        ),
        ("train: images/train\nval: {a: b}\nnames: [a, b]\n", "not of the right kind; give a text or a list"),
        ("train: images/train\nval: images/val\nnames: 'a,b'\n", "give a list or names by their numbers"),
        ("train: images/train\nnames: [cat, dog]\n", "no 'val' images"),
        ("train: images/trian\nval: images/val\nnames: [cat, dog]\n", "does not exist"),
        ("train: labels/train\nval: images/val\nnames: [cat, dog]\n", "no image in"),
        ("train: images/train\nval: images/val\nnames: [cat]\n", "class 1"),
    ],
)
def test_a_fault_of_a_yaml_is_named(tmp_path: Path, text: str, words: str) -> None:
    write_data(tmp_path)
    data = write_yaml(tmp_path)
    data.write_text(text)
    found = errors(data)
    assert found
    assert all(each.startswith(str(tmp_path)) for each in found)
    assert words in found[0]


def test_yaml_lists_and_paths_are_followed(tmp_path: Path) -> None:
    write_data(tmp_path)
    data = write_yaml(tmp_path)
    data.write_text(f"path: {tmp_path}\ntrain: [train.txt, images/val]\nval: ../val.txt\nnames: {{0: cat, 1: dog}}\n")
    assert errors(data) == []


def test_data_that_ultralytics_downloads_is_left_to_it(tmp_path: Path) -> None:
    assert check_data("coco8.yaml") == []
    assert "no such file" in errors("coco9.yaml")[0]
