"""What is said about a data set of other channels than the network, before anything starts."""

from __future__ import annotations

import pytest

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.channel_checks import channels_fault, check_channels, declared_channels


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grey.cfg").write_text("[net]\nwidth=32\nheight=32\nchannels=1\n[convolutional]\nfilters=2\n")
    (tmp_path / "d.data").write_text("classes=1\n")
    return tmp_path


def declare(value: str) -> None:
    with open("d.yaml", "w") as file:
        file.write(f"train: a\nval: b\nnames: [x]\n{value}\n")


@pytest.mark.parametrize("value", ["", "channels:", "channels: 1"])
def test_data_that_says_nothing_else_is_read_as_the_network_needs_it(files, value):
    declare(value)
    assert list(check_channels("grey.cfg", "d.yaml")) == []
    assert list(check_channels("grey.cfg", "d.data")) == []
    assert list(check_channels("grey.cfg", None)) == []


def test_both_files_are_named(files):
    declare("channels: 3")
    (problem,) = check_channels("grey.cfg", "d.yaml")
    assert problem.text == (
        "d.yaml: channels: 3 (colour images), but the network of grey.cfg has channels=1 in [net]; "
        "make them the same, or leave channels: out of the data"
    )
    assert channels_fault(7, "x.cfg", "d.yaml") is not None


@pytest.mark.parametrize("value", ["grey", "0", "2.5", "true", "[1]"])
def test_what_is_no_number_of_channels_is_named(files, value):
    declare(f"channels: {value}")
    with pytest.raises(SettingsError, match=r"^d\.yaml: channels: .*; give a whole number"):
        declared_channels("d.yaml")
    assert len(list(check_channels("grey.cfg", "d.yaml"))) == 1


def test_a_data_set_of_ultralytics_is_known_by_its_name(files):
    assert declared_channels("coco8-grayscale.yaml") == 1


def test_files_that_are_not_there_are_named_elsewhere(files):
    assert list(check_channels("none.cfg", "d.yaml")) == []
    assert list(check_channels("grey.cfg", "none.yaml")) == []
