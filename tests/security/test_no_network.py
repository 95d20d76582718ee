"""Nobody is called: every command, Python and ``infer.py`` alone, where a resolver answers every name and notes it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.engine.conftest import V8_YAML
from tests.security.resolver import asked, is_possible
from yolo_subbatch.settings.offline import VARIABLES, stay_offline, wants_network

ROOT = Path(__file__).parents[2]
POSSIBLE = pytest.mark.skipif(not is_possible(), reason="this user may make no namespace of a network")
ODD = "\u043a\u0440\u0443\u0433\n\u65b9\n\u25b3\n"  # names that Ultralytics wants a font for
PROGRAM = (sys.executable, "-m", "yolo_subbatch")
DATA, MODEL = "data=shapes/odd.data", "model=runs/train/weights/best.pt"
TRAIN = f"train cfg=tiny.cfg {DATA} epochs=1 workers=0 device=cpu"
#: Every command, in an order in which each finds what it needs.
COMMANDS = (
    TRAIN,
    f"val {MODEL} {DATA}",
    f"map {MODEL} {DATA}",
    f"predict {MODEL} source=shapes/images/val conf=0.001 save=True",
    f"export {MODEL}",
    "infer model=runs/train/weights/best.onnx source=shapes/images/val save=True",
    f"convert {MODEL} to=x.weights",
    "info cfg=tiny.cfg",
    "anchors data=shapes/shapes.data num=3 imgsz=64",
    "partial tiny.cfg runs/train/weights/last.weights x.conv 2",
    "triton model=runs/train/weights/best.onnx out=models",
    "detector test shapes/odd.data tiny.cfg runs/train/weights/last.weights shapes/images/val/00000.jpg -dont_show",
    "detector map shapes/odd.data tiny.cfg runs/train/weights/last.weights",
    "detector valid shapes/odd.data tiny.cfg runs/train/weights/last.weights",
    "detector recall shapes/odd.data tiny.cfg runs/train/weights/last.weights",
    "detector train shapes/odd.data tiny.cfg -dont_show",
    "train model=v8.yaml data=shapes/shapes.yaml epochs=1 workers=0 device=cpu name=v8",
    "gui run=runs/train screenshot=x.png",
    "demo epochs=1",
)
IN_PYTHON = """
from yolo_subbatch import Darknet
model = Darknet("tiny.cfg")
model.train(data="shapes/odd.data", epochs=1, workers=0, device="cpu", plots=True, name="py")
model.val(data="shapes/odd.data")
model.predict("shapes/images/val", save=True, conf=0.001)
found = model.export()
from yolo_subbatch.export.infer import OnnxYolo
list(OnnxYolo(found).predict("shapes/images/val"))
"""
#: The least of it: what is asked and told at the start and the end of a training, and the fonts.
SHORT = """
from pathlib import Path
from yolo_subbatch import Darknet
from ultralytics.utils import SETTINGS, checks, plotting
before = Path(SETTINGS.file).read_bytes(), dict(SETTINGS)
Darknet("tiny.cfg").train(data="shapes/odd.data", epochs=1, workers=0, device="cpu", plots=False, val=False, name="py")
assert Path(plotting.check_font("Arial.Unicode.ttf")).is_file() and Path(checks.check_font("Arial.ttf")).is_file()
assert (Path(SETTINGS.file).read_bytes(), dict(SETTINGS)) == before, "they are the user's, also for other programs"
"""
AFTER_ULTRALYTICS = """
from ultralytics import YOLO
from ultralytics.utils import checks, events
assert checks.ONLINE and events.events.enabled, "nothing would be shown otherwise"
from yolo_subbatch import SubbatchTrainer
YOLO("v8.yaml").train(
    trainer=SubbatchTrainer, data="shapes/shapes.yaml", epochs=1, workers=0, device="cpu", project="runs", name="v8"
)
assert events.events.enabled, "what the user's own calls do is left alone"
"""


@pytest.fixture
def odd(place: Path) -> Path:
    """The folder, with names of classes in other scripts."""
    lines = (place / "shapes/shapes.data").read_text().splitlines()
    (place / "odd.names").write_text(ODD, encoding="utf-8")
    kept = [line for line in lines if not line.startswith("names")]
    (place / "shapes/odd.data").write_text("\n".join([*kept, "names=../odd.names"]))
    (place / "v8.yaml").write_text(V8_YAML)
    return place


@POSSIBLE
def test_the_resolver_hears_of_every_look_up(place: Path) -> None:
    code = "import socket; socket.getaddrinfo('example.org', 80)"
    assert set(asked([sys.executable, "-c", code], place)) == {"example.org"}


@POSSIBLE
def test_a_training_from_python_looks_nothing_up(odd: Path) -> None:
    assert asked([sys.executable, "-c", SHORT], odd) == []


@POSSIBLE
@pytest.mark.slow
def test_python_looks_nothing_up(odd: Path) -> None:
    assert asked([sys.executable, "-c", IN_PYTHON], odd) == []
    assert not [each for each in (odd / "home").rglob("*") if "Microsoft" in str(each)], "no number of this device"


@POSSIBLE
@pytest.mark.slow
def test_a_script_that_imported_ultralytics_first_calls_nobody_more(odd: Path) -> None:
    """Importing it asks a resolver already, which nothing here can change."""
    assert set(asked([sys.executable, "-c", AFTER_ULTRALYTICS], odd)) == {"one.one.one.one"}


@POSSIBLE
@pytest.mark.slow
def test_no_command_looks_anything_up(odd: Path) -> None:
    found = {line: asked([*PROGRAM, *line.split()], odd) for line in COMMANDS}
    assert not {line: names for line, names in found.items() if names}


@POSSIBLE
@pytest.mark.slow
def test_the_script_alone_looks_nothing_up(odd: Path) -> None:
    """onnxruntime does after some seconds, where its variable is not set."""
    asked([*PROGRAM, *TRAIN.split()], odd)
    asked([*PROGRAM, "export", MODEL], odd)
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'export')!r}); import infer\n"
        "model = infer.OnnxYolo('runs/train/weights/best.onnx'); list(model.predict('shapes/images/val')); time.sleep(20)"
    )
    assert asked([sys.executable, "-c", code], odd) == []


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    assert not wants_network()
    monkeypatch.setenv("YOLO_OFFLINE", "false")
    stay_offline()
    assert {name: os.environ[name] for name in VARIABLES} == {**VARIABLES, "YOLO_OFFLINE": "false"}
    assert wants_network()
