"""The command line as its users meet it: texts, exit status, what is left on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.settings.sample import write_cfg, write_checkpoint, write_data, write_yaml
from yolo_subbatch import __version__, cli, late_imports, train_command
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.folder.events import EventWriter, Log, RunFinished, Step, last_event
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings

PROGRAM = [sys.executable, "-m", "yolo_subbatch"]
WAIT = 120.0  # seconds


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with everything that a training needs."""
    write_cfg(tmp_path)
    write_data(tmp_path)
    write_yaml(tmp_path)
    write_checkpoint(tmp_path / "best.pt")
    (tmp_path / "small.weights").write_bytes(b"1234")
    for name, numbers in (("short", 100), ("long", 10_000)):
        (tmp_path / f"{name}.weights").write_bytes(b"\0\0\0\0\2" + bytes(15 + 4 * numbers))
    (tmp_path / "empty.weights").touch()
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "binary.cfg").write_bytes(b"[net]\0")
    write_cfg(tmp_path, ("filters=14", "filters=13"), name="filters.cfg")
    write_cfg(tmp_path, ("subdivisions", "subdivison"), name="typo.cfg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_SUBBATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


Engine = Callable[[TrainSettings, RunFolder, list[Any]], int]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, place: Path) -> Callable[[Engine], list[TrainSettings]]:
    """Put a function in the place of the training, and the built-in data set in the place of its drawing."""
    load = late_imports.load

    def replace(train: Engine) -> list[TrainSettings]:
        calls: list[TrainSettings] = []

        def run(settings: TrainSettings, folder: RunFolder, listeners: list[Any]) -> int:
            calls.append(settings)
            return train(settings, folder, listeners)

        known = {"engine.training_run:run_training": run, "built_in_data:shapes_data": lambda: place / "obj.data"}
        for module in (cli, train_command):
            monkeypatch.setattr(module, "load", lambda name: known.get(name) or load(name))
        return calls

    return replace


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [[], ["-h"], ["--help"], ["help"], ["--version"], ["train", "-h"], ["train", "cfg=x", "--help"],
                  ["help", "val"], *([name, "-h"] for name in cli.COMMANDS)],
)  # fmt: skip
def test_help_needs_no_torch(arguments: list[str]) -> None:
    heavy = {"torch", "ultralytics", "onnx", "onnxruntime", "PySide6"}
    if arguments[:1] != ["infer"]:  # its settings stand in the script, which needs these two anyway
        heavy |= {"numpy", "cv2"}
    code = (
        "import sys; from yolo_subbatch.cli import main; status = main(sys.argv[1:]); "
        f"assert not {heavy} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "yolo-subbatch" in done.stdout


def test_help_is_made_from_the_settings() -> None:
    done = subprocess.run([*PROGRAM, "train", "-h"], capture_output=True, text=True, check=True, timeout=WAIT)
    for words in ("subdivisions=", "Parts in which a batch is computed", "default 20", "mosaic", "For example:"):
        assert words in done.stdout
    done = subprocess.run(PROGRAM, capture_output=True, text=True, check=True, timeout=WAIT)
    assert all(name in done.stdout for name in cli.COMMANDS)
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True, timeout=WAIT)
    assert done.stdout.strip() == f"yolo-subbatch {__version__}"


def test_a_reader_that_goes_away_is_no_accident() -> None:
    done = subprocess.run(
        f"{' '.join(PROGRAM)} train -h | head -1", shell=True, capture_output=True, text=True, timeout=WAIT
    )
    assert done.stderr == ""
    assert done.stdout.startswith("yolo-subbatch train")


# --- bad input ------------------------------------------------------------------------------------------------------

TRAIN = "train cfg=small.cfg data=obj.data"
BAD = {
    "trian": "did you mean train",
    "train yolov3.cfg": "no key=value",
    "train cfg=small.cfg batch": "no key=value",
    "train": "cfg: not given",
    "train cfg=none.cfg": "none.cfg: no such file",
    "train cfg=binary.cfg": "binary file",
    "train cfg=typo.cfg": "did you mean subdivisions",
    "train cfg=filters.cfg": "set filters=14",
    "train cfg=.": "folder",
    f"{TRAIN} subdivision=4": "did you mean subdivisions",
    f"{TRAIN} batch=8 subdivisions=3": "use one of 1, 2, 4",
    f"{TRAIN} batch=x": "whole number",
    f"{TRAIN} batch=-8": "at least 1",
    f"{TRAIN} learning_rate=nan": "finite",
    f"{TRAIN} learning_rate=0": "more than 0",
    f"{TRAIN} decay=2": "at most 1",
    f"{TRAIN} fraction=0": "more than 0",
    f"{TRAIN} time=-1": "more than 0",
    f"{TRAIN} freeze=50": "leave some to be trained",
    f"{TRAIN} freeze=a": "number of layers",
    f"{TRAIN} split=test": "no 'test' list",
    f"{TRAIN} batch=8 batch=4": "given twice",
    f"{TRAIN} lr0=1 learning_rate=1": "two names",
    f"{TRAIN} epochs=0": "at least 1",
    f"{TRAIN} imgsz=65": "use 64 or 68",
    f"{TRAIN} device=gpu": "cpu, 0",
    f"{TRAIN} device=cuda:99": "use device=",
    f"{TRAIN} weights=none.weights": "no such file",
    f"{TRAIN} weights=empty.weights": "empty",
    f"{TRAIN} weights=small.weights": "cut off",
    f"{TRAIN} weights=short.weights": "yolo-subbatch: short.weights: ends inside layer 0",
    f"{TRAIN} weights=long.weights": "describes",
    f"{TRAIN} name=a/b": "plain name",
    f"{TRAIN} project=obj.data": "this is a file",
    f"{TRAIN} run_dir=nowhere": "is given too",
    "train run_dir=nowhere": "no such folder",
    "train --run-dir images": "no settings.json",
    "train cfg=small.cfg data=images": "folder",
    "train cfg=small.cfg data=none.data": "no such file",
    "train model=text.pt data=obj.yaml": "no checkpoint",
    "train model=yolo26n.yaml data=obj.yaml burn_in=3": "no meaning",
    "val": "not given",
    "val model=text.pt": "no checkpoint",
    "val cfg=small.cfg": "needs its trained weights",
    "val cfg=small.cfg weights=short.weights data=obj.data": "ends inside layer 0",
    "val model=best.pt data=obj.data split=test": "no 'test' list",
    "predict model=best.pt": "source: not given",
    "predict model=best.pt source=labels/val": "no image",
    "predict model=best.pt source=images/val conf=2": "at most 1",
    "predict cfg=small.cfg weights=long.weights source=images/val": "describes",
    "convert model=best.pt to=x.onnx": "unknown format",
    "info cfg=none.cfg": "no such file",
    "info cfg=small.cfg --batch 9 --subdivisions 2": "does not divide",
    "demo epochs=-1": "at least 1",
    f"{TRAIN} batch=9 subdivisions=2 imgsz=65 epochs=0 momentum=2 decay=-1": "and 2 more: ",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_answered_in_a_few_lines(place: Path, capfd: pytest.CaptureFixture[str], line: str) -> None:
    before = sorted(place.rglob("*"))
    assert cli.main(line.split()) == 2
    printed = capfd.readouterr()
    assert BAD[line] in printed.err
    assert 1 <= len(printed.err.splitlines()) <= 4
    assert printed.err.startswith("yolo-subbatch: ")
    assert "Traceback" not in printed.err
    assert sorted(place.rglob("*")) == before, "nothing is left behind"


def test_bad_input_ends_a_real_process_with_two(place: Path) -> None:
    for arguments in (["train", "cfg=none.cfg"], ["trian"], ["train", "cfg=small.cfg", "data=obj.data", "imgsz=65"]):
        done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 2
        assert 1 <= len(done.stderr.splitlines()) <= 4
        assert "Traceback" not in done.stderr


# --- the way of a training ------------------------------------------------------------------------------------------


def test_a_training_gets_its_folder_and_its_settings(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    def train(settings: TrainSettings, folder: RunFolder, listeners: list[Any]) -> int:
        assert folder.status() == "running"
        for listener in listeners:
            listener(Log(level="info", text="batch 8 = 2 sub-batches"))
            listener(Step(step=1, epoch=1, loss={"total": 1.0}, lr=0.1, gnorm=1.0))
        return 0

    calls = engine(train)
    for name in ("train", "train2"):
        assert cli.main(["train", "cfg=small.cfg", "data=obj.data", "steps=5", "scales=.1"]) == 0
        folder = RunFolder(place / "runs" / name)
        asked = TrainSettings(cfg="small.cfg", data="obj.data", steps=(5,), scales=(0.1,))
        assert folder.read_settings() == asked == calls[-1]
        printed = capsys.readouterr().out
        assert "batch 8 = 2 sub-batches" in printed
        assert "loss 1" in printed
        assert f"results are in runs/{name}" in printed
        assert ("train exists already; this run goes to runs/train2" in printed) == (name == "train2")


def test_without_data_the_built_in_set_is_used_and_said(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = engine(lambda *_: 0)
    assert cli.main(["train", "cfg=small.cfg"]) == 0
    printed = capsys.readouterr().out
    assert "using the built-in data set shapes" in printed
    assert "the run is 10 epochs" in printed
    assert (calls[0].epochs, calls[0].data) == (10, str(place / "obj.data"))
    assert RunFolder(place / "runs" / "train").read_settings() == TrainSettings(cfg="small.cfg"), "as it was asked"
    assert cli.main(["train", "cfg=small.cfg", "max_batches=5"]) == 0
    assert cli.main(["train", "cfg=small.cfg", "data=shapes"]) == 0
    assert "10 epochs" not in capsys.readouterr().out
    assert [each.epochs for each in calls[1:]] == [None, None]


def test_warnings_are_printed_and_the_run_goes_on(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = engine(lambda *_: 0)
    write_cfg(place, ("batch=8", "batch=1"), ("subdivisions=2", "subdivisions=1"), name="testing.cfg")
    assert cli.main(["train", "cfg=testing.cfg", "data=obj.data"]) == 0
    assert "warning: testing.cfg: batch=1, Darknet's lines for testing" in capsys.readouterr().out
    assert len(calls) == 1


def test_the_exit_status_of_the_training_is_passed_on(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    engine(lambda *_: 130)
    assert cli.main(TRAIN.split()) == 130
    assert "results" not in capsys.readouterr().out


def failing(error: BaseException, begun: bool) -> Engine:
    def train(settings: TrainSettings, folder: RunFolder, listeners: list[Any]) -> int:
        if begun:
            EventWriter(folder.events).write(Log(level="info", text="begun"))
        raise error

    return train


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (WeightsError("w: too short; give another"), 2, "yolo-subbatch: w: too short; give another\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd"), 1, "yolo-subbatch: unexpected RuntimeError: odd"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_a_training_that_fails(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str],
    error: BaseException, status: int, words: str, begun: bool,
) -> None:  # fmt: skip
    engine(failing(error, begun))
    assert cli.main(TRAIN.split()) == status
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("Traceback") == (1 if status == 1 else 0)
    folder = RunFolder(place / "runs" / "train")
    assert folder.path.exists() == (begun or status == 1)
    if begun:
        last = last_event(folder.events)
        assert isinstance(last, RunFinished)
        assert last.status == ("stopped" if status == 130 else "failed")
        assert (last.error or {}).get("message", "") == (str(error) if status != 130 else "")


def test_a_prepared_folder_is_used_as_it_is(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = engine(lambda *_: 0)
    folder = RunFolder.create(place, "prepared")
    settings = TrainSettings(cfg="small.cfg", data="obj.data", batch=4)
    folder.write_settings(settings)
    assert cli.main(["train", "--run-dir", "prepared"]) == 0
    assert calls == [settings]
    assert not (place / "runs").exists()
    folder.write_settings(TrainSettings(cfg="none.cfg"))
    assert cli.main(["train", "run_dir=prepared"]) == 2
    last = last_event(folder.events)
    assert isinstance(last, RunFinished)
    assert "none.cfg" in last.reason
    assert cli.main(["train", "run_dir=prepared"]) == 2
    assert "events of a run already" in capsys.readouterr().err


def test_ultralytics_is_kept_from_the_network(
    place: Path, engine: Callable[[Engine], list[TrainSettings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YOLO_OFFLINE", raising=False)
    monkeypatch.setenv("YOLO_AUTOINSTALL", "true")
    engine(lambda *_: 0)
    assert cli.main(TRAIN.split()) == 0
    assert os.environ.pop("YOLO_OFFLINE") == "true"
    assert os.environ["YOLO_AUTOINSTALL"] == "true", "the user's own choice holds"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("yolo test yolov1.cfg yolov1.weights dog.jpg", "type yolo-subbatch detect CFG WEIGHTS IMAGE"),
        ("yolo train yolov1.cfg", "type yolo-subbatch detector train"),
        ("classifier train imagenet.data x.cfg", "yolo-subbatch train model=yolo26n-cls.yaml"),
        ("classifier predict imagenet.data x.cfg x.weights dog.jpg", "yolo classify predict"),
        ("segmenter train x.data x.cfg", "model=yolo26n-seg.yaml"),
        ("imtest dog.jpg", "yolo-subbatch predict source="),
        ("ops yolov3.cfg", "yolo-subbatch info cfg="),
        ("visualize x.cfg x.weights", "yolo-subbatch info cfg="),
        ("average x.cfg out.weights a.weights", "ema_alpha"),
        ("rescale x.cfg x.weights out.weights", "yolo-subbatch convert"),
        ("denormalize x.cfg x.weights out.weights", "yolo-subbatch export"),
        ("statistics x.cfg x.weights", "yolo-subbatch info"),
        ("nightmare x.cfg x.weights dog.jpg 3", "nothing like it"),
    ],
)
def test_darknets_other_commands_are_named(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line.split()) == 2
    error = capsys.readouterr().err
    assert "Darknet's command" in error
    assert words in error


@pytest.mark.parametrize(
    "words", [["-help"], ["detector", "-help"], ["detector", "help"], ["detect", "-h"], ["help", "detect"]]
)
def test_help_is_asked_for_as_darknets_users_do(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert "Usage: yolo-subbatch" in capsys.readouterr().out
