from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QScrollArea, QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui.form.fields import ChoiceBox
from yolo_subbatch.gui.form.number_box import NumberBox
from yolo_subbatch.gui.form.path_field import PathField
from yolo_subbatch.gui.form.train_form import Form
from yolo_subbatch.gui.toolkit.section import BREAK, Message
from yolo_subbatch.settings.checks import Problem
from yolo_subbatch.settings.ready import check_ready
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import make, parse_pairs

NOT_SHOWN = {"trust", "max_pixels", "resume", "run_dir"}
EVERYTHING: dict[str, Any] = {
    "cfg": "a b/中文.cfg", "model": "runs/x/best.pt", "weights": "darknet53.conv.74", "flavour": "alexeyab",
    "data": "mask.data", "imgsz": (416, 608), "letterbox": "darknet", "missing_labels": "skip", "batch": 48, "subdivisions": "auto",
    "memory": "1.5 GiB", "recompute": True, "max_norm": math.inf, "norm_type": math.inf, "bn": "cross", "exact_norm": True,
    "batch_per_gpu": True, "epochs": 7, "max_batches": 500200, "patience": 0, "max_skipped": 3, "schedule": "exact",
    "seen": "keep", "learning_rate": 1e-05, "momentum": 0.949, "decay": 0.0005, "burn_in": 0, "power": 4.0,
    "policy": "sgdr", "steps": (10, 20), "scales": (0.1, 0.25), "step": 5, "scale": 0.3, "gamma": 0.999,
    "learning_rate_min": 1e-07, "augmentation": "ultralytics", "random": 1.4, "jitter": 0.0, "hue": 0.1,
    "saturation": 1.5, "exposure": 1.7, "flip": 0, "angle": 3.0, "resize": 1.5,
    "letter_box": 1, "mosaic_bound": 0, "blur": 3, "gaussian_noise": 9, "resize_step": 64, "ema_alpha": 0.998, "ignore_thresh": 0.7, "truth_thresh": 1.0,
    "device": "0,1", "workers": 0, "save_iterations": 100, "keep_state": False, "amp": "bf16", "seed": 2**32 - 1, "project": "my runs", "name": "a-run",
    "extra": {"freeze": [0, 1], "mosaic": 0.5, "cache": "ram", "optimizer": "SGD", "rect": True, "time": None},
}  # fmt: skip


@pytest.fixture
def form(qtbot: Any) -> Form:
    made = Form(("Preset", QWidget(), Message()))
    qtbot.addWidget(made)
    return made


def read(form: Form) -> TrainSettings:
    settings, faults = form.read()
    assert faults == []
    return settings


def shown(form: Form, name: str) -> str:
    """Return the message under a field as one reads it."""
    message = form.messages[name]
    return "" if message.isHidden() else message.text().replace(BREAK, "")


def test_there_is_a_field_for_every_setting(form: Form) -> None:
    names = {each.name for each in dataclasses.fields(TrainSettings)} - NOT_SHOWN
    assert set(form.fields) == names
    assert set(EVERYTHING) == names
    assert all(form.findChild(QWidget, name) is field for name, field in form.fields.items())


def test_every_value_comes_back(form: Form) -> None:
    everything = TrainSettings(**EVERYTHING)
    form.write(everything)
    assert read(form) == everything
    form.write(TrainSettings())
    assert read(form) == TrainSettings()
    for name, value in EVERYTHING.items():
        one = TrainSettings(**{name: value})
        form.write(one)
        found = read(form)
        assert found == one
        assert type(getattr(found, name)) is type(value)


WHOLE, REAL = st.integers(0, 2**31), st.floats(allow_nan=False)
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda text: text.lower() not in {"none", "null"}
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "cfg": WORD, "data": WORD, "batch": WHOLE, "subdivisions": WHOLE | st.just("auto"), "max_norm": REAL,
        "imgsz": WHOLE | st.tuples(WHOLE, WHOLE), "steps": st.lists(WHOLE, min_size=1).map(tuple),
        "scales": st.lists(REAL, min_size=1).map(tuple), "learning_rate": REAL, "hue": REAL, "seed": WHOLE,
        "amp": st.sampled_from([True, False, "bf16"]), "exact_norm": st.booleans(), "device": WORD.map(str.lower),
        "policy": st.sampled_from(["poly", "steps"]), "name": WORD,
        "extra": st.fixed_dictionaries({}, optional={"mosaic": st.floats(0, 1), "classes": st.lists(WHOLE)}),
    },
)  # fmt: skip


@given(VALUES)
@rules(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_values_come_back(form: Form, values: dict[str, Any]) -> None:
    settings = TrainSettings(**values)
    form.write(settings)
    assert read(form) == settings


def test_a_text_without_meaning_is_the_command_lines_fault(form: Form) -> None:
    for name, text in (
        ("batch", "many"), ("batch", "1.5"), ("epochs", "abc"), ("learning_rate", "0,1"), ("imgsz", "1,2,3"),
        ("steps", "1,x"), ("max_norm", "few"),
    ):  # fmt: skip
        form.fields[name].give(text)
        with pytest.raises(SettingsError) as told:
            make(TrainSettings, parse_pairs([f"{name}={text}"]))
        settings, faults = form.read()
        assert faults == [Problem(name, "error", str(told.value))]
        assert settings == TrainSettings()
        form.fields[name].give("")


def test_wrong_lines_of_keys_are_told(form: Form) -> None:
    for text, words in {
        "mosaik=1": "mosaik: unknown key; did you mean mosaic?", "mosaic": "no key=value", "nbs=64": "batch=",
        "mosaic=0\nmosaic=1": "given twice", "batch=3": "batch: not one of these keys",
        "lr0=3": "lr0: not one of these keys", "run_dir=x": "run_dir: not one of these keys",
    }.items():  # fmt: skip
        form.fields["extra"].give(text)
        _, faults = form.read()
        assert [fault.field for fault in faults] == ["extra"]
        assert words in faults[0].text


def test_blanks_around_keys_do_not_matter(form: Form) -> None:
    form.fields["extra"].give("\n  mosaic = 0.5 \n\nfreeze=0,1\n")
    form.fields["batch"].give(" 8 ")
    assert read(form) == TrainSettings(batch=8, extra={"mosaic": 0.5, "freeze": [0, 1]})


def test_messages_say_what_validate_says_and_unfold_their_card(form: Form) -> None:
    more = form.sections["more"]
    assert not more.is_open
    ready = check_ready(TrainSettings(cfg="yolov3.cfg", angle=-1, batch=64, subdivisions=7, extra={"mosaic": 0.5}))
    form.show_readiness(ready)
    assert more.is_open
    for problem in ready.problems:
        assert problem.text in shown(form, form.field_of(problem))
    assert shown(form, "angle") == "✗ angle=-1: too small; give at least 0"
    assert shown(form, "extra").startswith("! mosaic: ")
    assert form.messages["subdivisions"].property("role") == "bad"
    assert form.messages["extra"].property("role") == "warn"
    more.set_open(False)
    form.show_readiness(ready)
    assert not more.is_open, "a card that one has folded stays folded while nothing new is wrong"
    form.show_readiness(check_ready(TrainSettings(cfg="yolov3.cfg")))
    assert not any(shown(form, name) for name in form.fields)


def placeholder(form: Form, name: str) -> str:
    field = form.fields[name]
    return field.lineEdit().placeholderText() if isinstance(field, NumberBox) else field.placeholderText()  # type: ignore[union-attr]


def test_empty_fields_show_what_will_hold(form: Form) -> None:
    form.show_readiness(check_ready(TrainSettings(cfg="yolov3.cfg", epochs=3)))
    found = {name: placeholder(form, name) for name in ("batch", "subdivisions", "imgsz", "learning_rate", "steps")}
    assert found == {
        "batch": "64", "subdivisions": "16", "imgsz": "608", "learning_rate": "0.001", "steps": "400000,450000",
    }  # fmt: skip
    assert placeholder(form, "max_batches") == "75"
    policy = form.fields["policy"]
    assert isinstance(policy, ChoiceBox)
    assert policy.itemText(0) == "from the cfg: steps"
    form.show_readiness(check_ready(TrainSettings(cfg="shapes.cfg")))
    assert (placeholder(form, "batch"), placeholder(form, "imgsz")) == ("16", "160")
    form.show_readiness(check_ready(TrainSettings(cfg="gone.cfg")))
    assert placeholder(form, "batch") == ""
    assert policy.itemText(0) == "default"
    assert placeholder(form, "max_norm") == "20"


def test_batch_and_subdivisions_tell_what_they_mean(form: Form) -> None:
    for settings, result, meaning in (
        (TrainSettings(cfg="yolov3.cfg", batch=64, subdivisions=16), "= 4", "4 images at a time, about 3.7 GiB"),
        (TrainSettings(cfg="shapes.cfg", batch=4, subdivisions=4), "= 1", "1 image at a time, about 9 MiB"),
        (TrainSettings(model="yolo26n.yaml", batch=8, subdivisions=2), "= 4", "4 images at a time"),
        (TrainSettings(cfg="shapes.cfg", batch=64, subdivisions=7), "", ""),
        (TrainSettings(cfg="shapes.cfg", batch=64, subdivisions="auto"), "", "as few parts as fit into memory"),
    ):
        form.write(settings)
        form.show_readiness(check_ready(settings))
        labels = [form.findChild(QLabel, name) for name in ("sub_batch", "sub_batch_meaning")]
        assert [label.text() for label in labels] == [result, meaning]


def wheel(widget: QWidget) -> None:
    window = widget.window()
    QTest.wheelEvent(window.windowHandle(), QPointF(widget.mapTo(window, QPoint(8, 8))), QPoint(0, -240))
    QApplication.processEvents()


def test_the_wheel_scrolls_the_form_and_changes_no_field_that_is_not_in_use(qtbot: Any, form: Form) -> None:
    area = QScrollArea()
    qtbot.addWidget(area)
    area.setWidget(form)
    area.setWidgetResizable(True)
    area.resize(340, 300)
    area.show()
    form.sections["more"].set_open(True)
    bar = area.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 300)
    for name in ("batch", "learning_rate", "schedule", "device", "flavour"):
        form.write(TrainSettings(cfg="shapes.cfg", batch=64, learning_rate=0.1, device="cpu"))
        before, field = read(form), form.fields[name]
        bar.setValue(0)
        area.ensureWidgetVisible(field)
        form.fields["cfg"].setFocus()
        place = bar.value()
        wheel(field)
        assert read(form) == before
        assert bar.value() > place
        area.ensureWidgetVisible(field)
        field.setFocus()
        wheel(field)
        assert name == "device" or read(form) != before
    area.takeWidget()


def test_bundled_cfgs_and_data_are_offered(form: Form) -> None:
    for name, typed, wanted in (("cfg", "v3-t", "yolov3-tiny.cfg"), ("data", "sha", "shapes")):
        field = form.fields[name]
        assert isinstance(field, PathField)
        completer = field.edit.completer()
        completer.setCompletionPrefix(typed)
        assert completer.currentCompletion() == wanted


def test_labels_belong_to_fields_and_tips_name_the_key(form: Form) -> None:
    buddies = {label.buddy() for label in form.findChildren(QLabel) if label.buddy() is not None}
    for name, field in form.fields.items():
        assert field in buddies or name in {"batch", "subdivisions"}
        assert field.toolTip().endswith(f"\n{name}=")
        assert field.accessibleName()


def test_the_tab_key_goes_from_top_to_bottom(form: Form) -> None:
    order: list[str] = []
    widget = form.nextInFocusChain()
    while widget is not form:
        if widget.objectName() in form.fields and widget.objectName() not in order:
            order.append(widget.objectName())
        widget = widget.nextInFocusChain()
    assert order == list(form.fields)
