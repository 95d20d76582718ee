"""Darknet's own commands in processes of their own, on a tiny network and real files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.conftest import golden
from tests.engine.conftest import cfg_text
from tests.program import program
from tests.third_programs import opencv4
from yolo_subbatch import cli
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.darknet import Network, load_weights, read_cfg, save_weights
from yolo_subbatch.darknet.datafile import check_labels
from yolo_subbatch.darknet.geometry import with_classes
from yolo_subbatch.darknet.parser import write_cfg
from yolo_subbatch.darknet.textfile import as_here
from yolo_subbatch.darknet.weights_header import read_header
from yolo_subbatch.engine.backup_callbacks import KeepsBackup
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.folder import backup_folder
from yolo_subbatch.folder.events import EventWriter, Val

ROOT = Path(__file__).parent.parent
NET = ["shapes/shapes.data", "tiny.cfg", "tiny.weights"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a data set, a cfg and weights that find something."""
    folder = tmp_path_factory.mktemp("work")
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    text = cfg_text(bn=True).replace("max_batches=100", "max_batches=6").replace("steps=80,90", "steps=4,5")
    (folder / "tiny.cfg").write_text(text)
    torch.manual_seed(1)
    network = Network(read_cfg(folder / "tiny.cfg"))
    with torch.no_grad():
        for layer in network.layers:  # so that many boxes are confident, and some overlap
            if getattr(getattr(layer, "conv", None), "bias", None) is not None:
                layer.conv.weight.mul_(3)
    save_weights(network, folder / "tiny.weights", seen=8)
    data = folder / "shapes" / "shapes.data"
    data.write_text(data.read_text() + "backup = backup\n")
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def run(*arguments: str) -> int:
    return cli.main([*arguments, "-nogpu"] if arguments[:2] != ("detector", "calc_anchors") else list(arguments))


def seen(file: Path) -> int:
    return read_header(file.read_bytes()).seen


@pytest.mark.parametrize("arguments", [["-h"], ["train", "-h"], ["test", "x.data", "--help"], ["-h", "map"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from yolo_subbatch.cli import main; status = main(['detector', *sys.argv[1:]]); "
        "assert not {'torch', 'ultralytics', 'numpy', 'cv2'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("yolo-subbatch detector")


# --- train ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(place: Path) -> subprocess.CompletedProcess[str]:
    return program(place, "-nogpu", "detector", "train", *NET, "-map", "-dont_show", "-mjpeg_port", "8090")


def test_training_leaves_its_weights_where_darknet_does(place: Path, trained: subprocess.CompletedProcess[str]) -> None:
    assert trained.returncode == 0, trained.stdout + trained.stderr
    run = place / "runs" / "train" / "weights"
    for ending in ("last", "best", "final"):
        file = place / "backup" / f"tiny_{ending}.weights"
        assert f"{file.relative_to(place)} written" in trained.stdout
        if ending != "best":
            assert file.read_bytes()[20:] == (run / "last.weights").read_bytes()[20:]
            assert seen(file) == 24, "six iterations of four images"
            assert not file.samefile(run / "last.weights"), "Darknet writes into a file that is there"
    assert len(list((place / "backup").iterdir())) == 3


def test_training_says_what_it_does(trained: subprocess.CompletedProcess[str]) -> None:
    first = trained.stdout.splitlines()[0]
    assert first.startswith("= yolo-subbatch train cfg=tiny.cfg weights=tiny.weights data=shapes/shapes.data")
    assert all(pair in first.split() for pair in ("seen=keep", "schedule=exact", "max_norm=0.0", "device=cpu"))
    assert "note: -mjpeg_port: has no effect on detector train" in trained.stdout
    assert "no clipping" in trained.stdout


def test_training_goes_on_where_the_weights_were(place: Path, trained: subprocess.CompletedProcess[str]) -> None:
    """They had seen 8 images, that is 2 of the cfg's 6 iterations."""
    updates = [
        line for line in (place / "runs" / "train" / "events.jsonl").read_text().splitlines() if '"step"' in line
    ]
    steps = [json.loads(line)["step"] for line in updates if json.loads(line).get("type") == "step"]
    assert steps == [3, 4, 5, 6]


def test_training_again_overwrites_as_darknet_does_and_says_so(
    place: Path, trained: subprocess.CompletedProcess[str]
) -> None:
    before = (place / "backup" / "tiny_best.weights").read_bytes()
    done = program(place, "detector", "train", *NET, "-clear", "-nogpu", "name=again", "plots=False")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: backup/tiny_final.weights is going to be replaced" in done.stdout
    assert "backup/tiny_final.weights written" in done.stdout
    assert (place / "backup" / "tiny_best.weights").read_bytes() == before, "without -map nothing is the best"
    run = place / "runs" / "again"
    final, last = place / "backup" / "tiny_final.weights", run / "weights" / "last.weights"
    assert final.read_bytes()[20:] == last.read_bytes()[20:]
    assert (seen(final), seen(last)) == (24, 20), "Darknet's count of iterations, and the images"
    assert not re.search(r"^epoch 1: mAP50", done.stdout, re.MULTILINE), "without -map at the end at most"


def test_weights_at_the_end_of_the_schedule_need_clear(place: Path, trained: subprocess.CompletedProcess[str]) -> None:
    before = sorted((place / "runs").iterdir())
    data = (place / "tiny.weights").read_bytes()
    (place / "done.weights").write_bytes(data[:12] + (24).to_bytes(8, "little") + data[20:])
    done = program(place, "detector", "train", *NET[:2], "done.weights", "-map", "-nogpu")
    assert done.returncode == 2
    assert "nothing is left to train; add -clear to start at iteration 0" in done.stderr.replace("\n", " ")
    assert sorted((place / "runs").iterdir()) == before


def test_training_keeps_weights_on_its_way(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 100 and every 1000 iterations in Darknet, here every two and four of six."""
    monkeypatch.setattr("yolo_subbatch.engine.backup_callbacks.LAST", 2)
    monkeypatch.setattr("yolo_subbatch.engine.backup_callbacks.NUMBERED", 4)
    written: list[tuple[str, int]] = []
    write = backup_folder.Backup.place

    def place(self: backup_folder.Backup, ending: str | int) -> Path:
        written.append((str(ending), len(list(Path("kept").glob("*")))))
        return write(self, ending)

    monkeypatch.setattr(backup_folder.Backup, "place", place)
    Path("shapes/kept.data").write_text(Path("shapes/shapes.data").read_text().replace("= backup", "= kept"))
    assert run("detector", "train", "shapes/kept.data", *NET[1:], "-clear", "name=kept", "plots=False") == 0
    # Every third of the six iterations is of two images only, which does not lessen the count of the iterations.
    assert [ending for ending, _ in written] == ["last", "last", "4", "last", "last", "final"]
    assert {each.name: seen(each) for each in Path("kept").iterdir()} == {
        "tiny_last.weights": 24, "tiny_4.weights": 16, "tiny_final.weights": 24
    }  # fmt: skip


def test_a_run_that_is_taken_up_goes_on_with_its_backup(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ended after its third iteration, and gone on with as the program advises."""
    monkeypatch.setattr("yolo_subbatch.engine.backup_callbacks.LAST", 2)
    Path("shapes/again.data").write_text(Path("shapes/shapes.data").read_text().replace("= backup", "= later"))
    stop = RunRecorder.stop_wanted

    def after_three(self: RunRecorder) -> bool:
        return self.passes >= 3 or stop(self)  # one sub-batch an update

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "stop_wanted", after_three)
        flags = ("-clear", "-map", "name=later", "plots=False")
        assert run("detector", "train", "shapes/again.data", *NET[1:], *flags) == 0
    assert {each.name: seen(each) for each in Path("later").iterdir()}["tiny_last.weights"] == 12
    assert not Path("later/tiny_final.weights").exists()
    assert cli.main(["train", "resume=runs/later"]) == 0
    assert "later/tiny_final.weights written" in capsys.readouterr().out
    assert {each.name: seen(each) for each in Path("later").iterdir() if "best" not in each.name} == {
        "tiny_last.weights": 24, "tiny_final.weights": 24
    }  # fmt: skip


@pytest.mark.parametrize(("before", "kept"), [([], [0.2, 0.3, 0.3]), ([0.25], [0.3, 0.3]), ([0.4, None], [])])
def test_the_best_weights_are_those_of_the_best_map_at_a_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[float | None], kept: list[float]
) -> None:
    """AlexeyAB's measure, over everything that the run has measured, whatever Ultralytics takes for the best."""
    writer = EventWriter(tmp_path / "events.jsonl")
    for number, map50 in enumerate(before, 1):
        writer.write(Val(step=number, epoch=number, map50=map50, map=0.9))
    writer.close()
    saved: list[float] = []
    monkeypatch.setattr("yolo_subbatch.engine.backup_callbacks.save_weights", lambda *_: saved.append(found))
    keeper = KeepsBackup(backup_folder.Backup(tmp_path / "kept", Path("tiny.cfg"), best=True))
    for found in (0.2, 0.1, 0.3, 0.3, 0.29):
        keeper.on_model_save(SimpleNamespace(
            metrics={"metrics/mAP50(B)": found, "metrics/mAP50-95(B)": 1 - found}, save_dir=tmp_path, update_index=3,
            args=SimpleNamespace(batch=4), ema=SimpleNamespace(ema=SimpleNamespace(network=None)),
        ))  # fmt: skip
    assert saved == kept


def test_rebuilt_heads_come_with_their_cfg(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = with_classes(read_cfg("tiny.cfg"), 5)
    Path("five.cfg").write_text(write_cfg(cfg))
    Path("shapes/five.data").write_text(Path("shapes/shapes.data").read_text().replace("= backup", "= fives"))
    assert run("detector", "train", "shapes/five.data", "five.cfg", "name=fives", "plots=False") == 0
    assert "fives/five_rebuilt.cfg written: the cfg that fits these weights" in capsys.readouterr().out
    network = Network(read_cfg("fives/five_rebuilt.cfg"))
    load_weights(network, "fives/five_final.weights")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    (outputs,) = opencv4.run((Path("fives/five_rebuilt.cfg"), Path("fives/five_final.weights"), image.numpy()))
    opencv4.assert_same(network, image, outputs)


def test_a_backup_that_is_no_folder_is_refused_before_the_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("mine")
    Path("shapes/taken.data").write_text(Path("shapes/shapes.data").read_text().replace("= backup", "= taken"))
    before = sorted(Path("runs").rglob("*"))
    assert run("detector", "train", "shapes/taken.data", *NET[1:], "-clear") == 2
    assert "shapes/taken.data: backup=taken: this is a file; give a folder" in capsys.readouterr().err
    assert sorted(Path("runs").rglob("*")) == before


def test_a_full_disk_does_not_end_the_training(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = KeepsBackup(backup_folder.Backup(Path("nowhere"), Path("tiny.cfg"), best=True))

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_folder.Backup, "place", full)
    figures = {"metrics/mAP50(B)": 0.5}
    trainer = SimpleNamespace(
        update_index=100,
        args=SimpleNamespace(batch=4),
        metrics=figures,
        save_dir=here,
        ema=SimpleNamespace(ema=SimpleNamespace(network=None)),
    )
    with caplog.at_level("WARNING", "yolo_subbatch"):
        keeper.on_optimizer_step(trainer)
        keeper.on_model_save(trainer)
    assert [each.message.count("No space left") for each in caplog.records] == [1, 1]


@pytest.mark.parametrize(
    ("there", "wanted"),
    [([], "backup"), (["backup"], "backup"), (["data/backup"], "data/backup"), (["backup", "data/backup"], "backup")],
)
def test_the_backup_folder_is_looked_for_from_here_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for each in there:
        Path(each).mkdir(parents=True)
    assert backup_folder.backup_folder("data/obj.data", "backup") == Path(wanted)


def test_a_copy_is_whole_or_not_there(tmp_path: Path) -> None:
    header = bytes([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
    (tmp_path / "a").write_bytes(header + (5).to_bytes(8, "little") + b"new")
    (tmp_path / "b").write_bytes(b"old")
    backup_folder.copy_weights(tmp_path / "a", tmp_path / "b", 7)
    copied = header + (7).to_bytes(8, "little") + b"new"
    assert (tmp_path / "b").read_bytes() == copied
    with pytest.raises(OSError, match="No such file"):
        backup_folder.copy_weights(tmp_path / "none", tmp_path / "b", 7)
    assert (tmp_path / "b").read_bytes() == copied
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


# --- test -------------------------------------------------------------------------------------------------------------


def test_an_image_is_told_as_darknet_tells_it(place: Path) -> None:
    image = "shapes/images/val/00000.jpg"
    done = program(place, "detector", "test", *NET, image, "-thresh", ".2", "-ext_output", "-out", "r.json", "-nogpu")
    assert done.returncode == 0, done.stderr
    own, timing, *lines = done.stdout.splitlines()
    assert own.startswith("= yolo-subbatch predict cfg=tiny.cfg")
    assert re.fullmatch(rf"{image}: Predicted in [0-9.]+ milli-seconds\.", timing)
    form = r"(circle|square|triangle): (\d+)%\t\(left_x: +(-?\d+)   top_y: +-?\d+   width: +\d+   height: +\d+\)"
    found = [re.fullmatch(form, line) for line in lines[:-2]]
    assert found
    assert all(found), lines
    lefts = [int(each[3]) for each in found if each]
    assert lefts == sorted(lefts)
    assert lines[-2:] == ["predictions.jpg written", "r.json written"]
    (frame,) = json.loads((place / "r.json").read_text())
    assert (frame["frame_id"], frame["filename"]) == (1, image)
    assert len(frame["objects"]) == len(found)
    assert set(frame["objects"][0]) == {"class_id", "name", "relative_coordinates", "confidence"}
    assert set(frame["objects"][0]["relative_coordinates"]) == {"center_x", "center_y", "width", "height"}
    told = sorted(int(each[2]) for each in found if each)
    assert told == sorted(round(each["confidence"] * 100) for each in frame["objects"])
    assert cv2.imread(str(place / "predictions.jpg")).shape == (64, 64, 3)


def test_names_of_images_may_be_piped_in(place: Path) -> None:
    names = "shapes/images/val/00000.jpg\nnone.jpg\n\nshapes/images/val/00001.jpg"
    done = program(place, "detector", "test", *NET, "-nogpu", "-out", "two.json", text=names)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Enter Image Path: ") == 5
    assert "none.jpg: no such file" in done.stderr
    assert [each["frame_id"] for each in json.loads((place / "two.json").read_text())] == [1, 2]


def test_a_network_of_a_cfg_is_called_by_its_data(here: Path) -> None:
    from yolo_subbatch.engine.evaluate import open_model
    from yolo_subbatch.settings.commands import ExportSettings, MapSettings, PredictSettings, ValSettings

    given = {"cfg": NET[1], "weights": NET[2]}
    for kind in (ValSettings, MapSettings, PredictSettings, ExportSettings):
        assert open_model(kind(**given, data=NET[0])).model.names == {0: "circle", 1: "square", 2: "triangle"}
        assert open_model(kind(**given)).model.names[2] == "class2"


def test_an_image_or_a_list_needs_no_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", *NET[1:], "shapes/images/val/00000.jpg", "-thresh", ".1") == 0
    found = capsys.readouterr().out
    assert "class1: " in found
    assert run("detector", "test", *NET, "shapes/val.txt", "-thresh", ".1") == 0
    listed = capsys.readouterr().out
    assert [line.partition(":")[0] for line in listed.splitlines() if "Predicted in" in line] == [
        f"shapes/images/val/{index:05}.jpg" for index in range(4)
    ]


def test_a_video_is_looked_at_frame_by_frame(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    frames = [cv2.imread(str(file)) for file in sorted(Path("shapes/images/val").iterdir())]
    video = cv2.VideoWriter("v.avi", cv2.VideoWriter.fourcc(*"MJPG"), 12, frames[0].shape[1::-1])
    for each in frames:
        video.write(each)
    video.release()
    flags = ["-thresh", ".1", "-out_filename", f"{tmp_path}/out.mp4", "-prefix", f"{tmp_path}/f"]
    assert run("detector", "demo", *NET, "v.avi", *flags, "-json_file_output", f"{tmp_path}/v.json") == 0
    assert capsys.readouterr().out.count("Objects:") == 4
    capture = cv2.VideoCapture(f"{tmp_path}/out.mp4")
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (4, 12)
    assert sorted(each.name for each in tmp_path.glob("f_*")) == [f"f_{index:08}.jpg" for index in range(4)]
    (first, *_) = json.loads((tmp_path / "v.json").read_text())
    assert first["frame_id"] == 1
    assert first["objects"][0]["name"] in {"circle", "square", "triangle"}
    assert run("detector", "demo", *NET, "v.avi") == 0
    assert Path("predictions.avi").is_file(), "without a screen it is written"
    assert run("detector", "demo", *NET, "none.avi") == 2
    Path("text.avi").write_text("no video")
    assert run("detector", "demo", *NET, "text.avi") == 2
    assert "text.avi: cannot be opened" in capsys.readouterr().err


def test_an_interrupted_video_is_kept_as_far_as_it_went(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yolo_subbatch.engine import video
    from yolo_subbatch.engine.darknet_detections import Detector

    picture, look = cv2.imread(str(next(Path("shapes/images/val").iterdir()))), Detector.look
    looked: list[int] = []

    def look_twice(self: Detector, *args: Any) -> Any:
        looked.append(1)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return look(self, *args)

    monkeypatch.setattr(Detector, "look", look_twice)
    monkeypatch.setattr(video, "_frames", lambda source: ((picture, 10.0) for _ in range(9)))
    flags = ["-dont_show", "-out_filename", f"{tmp_path}/o.avi", "-json_file_output", f"{tmp_path}/o.json"]
    assert run("detector", "demo", *NET, "-c", "0", *flags) == 0, "a camera ends in no other way"
    assert len(json.loads((tmp_path / "o.json").read_text())) == 2
    assert cv2.VideoCapture(f"{tmp_path}/o.avi").get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_interrupted_images_are_kept_as_far_as_they_went(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yolo_subbatch.engine.darknet_detections import Detector

    find, looked = Detector.find, list[int]()

    def find_twice(self: Detector, *args: Any) -> Any:
        looked.append(1)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return find(self, *args)

    monkeypatch.setattr(Detector, "find", find_twice)
    assert run("detector", "test", *NET, "shapes/val.txt", "-dont_show", "-out", f"{tmp_path}/o.json") == 130
    assert len(json.loads((tmp_path / "o.json").read_text())) == 2


@pytest.mark.parametrize("flag", ["-gpus", "-i"])
def test_a_gpu_that_is_not_there_is_named_with_its_flag(
    here: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("test", "train"):
        assert cli.main(["detector", command, *NET, flag, "97"]) == 2
        error = capsys.readouterr().err
        assert f"{flag} 97: " in error
        assert "give -nogpu" in error


def test_only_the_names_of_the_data_are_needed(place: Path, here: Path) -> None:
    """The lists of a downloaded .data are often on another's disk."""
    (place / "far.data").write_text("classes=3\ntrain=/none/train.txt\nvalid=/none/v.txt\nnames=shapes/shapes.names\n")
    assert run("detector", "test", "far.data", *NET[1:], "shapes/images/val/00000.jpg") == 0


def test_what_is_found_can_be_labels(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = tmp_path / "picture.jpg", tmp_path / "picture.txt"
    image.write_bytes((here / "shapes/images/val/00000.jpg").read_bytes())
    for before in ("", "; the one of before is picture.txt.before", ""):
        if before:
            label.write_text("0 .5 .5 .1 .1\n")
        assert run("detector", "test", *NET, str(image), "-save_labels", "-thresh", ".1") == 0
        assert f"{label} written{before}\n" in capsys.readouterr().out
    assert label.with_name("picture.txt.before").read_text() == "0 .5 .5 .1 .1\n", "the user's own is never lost"
    rows = np.array([line.split() for line in label.read_text().splitlines()], float)
    assert len(rows)
    assert set(rows[:, 0]) <= {0, 1, 2}
    edges = np.concatenate((rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2))
    assert edges.min() > -1e-4
    assert edges.max() < 1 + 1e-4
    check_labels([label], 3, "x")


def test_what_stands_in_the_way_is_named(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("shapes/way.data").write_text(Path("shapes/shapes.data").read_text() + "results = tiny.cfg\n")
    assert run("detector", "valid", "shapes/way.data", *NET[1:]) == 2
    assert "results=tiny.cfg: this is a file; give a folder" in capsys.readouterr().err
    data = here / "shapes" / "shapes.data"
    monkeypatch.chdir(tmp_path)
    Path("counters_per_class.txt").mkdir()
    assert run("detector", "calc_anchors", str(data), "-width", "64", "-height", "64", "-num_of_clusters", "2") == 2
    assert "counters_per_class.txt: this is a folder" in capsys.readouterr().err
    assert not Path("anchors.txt").exists()


def test_an_unreadable_image_leaves_the_results_of_before(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.jpg").write_bytes(b"no picture")
    Path("bad.txt").write_text("bad.jpg\n")
    Path("bad.data").write_text("classes=3\nvalid=bad.txt\nresults=kept_results\n")
    Path("kept_results").mkdir()
    for name in ("class0", "class1", "class2"):
        Path(f"kept_results/comp4_det_test_{name}.txt").write_text("mine\n")
    assert run("detector", "valid", "bad.data", *NET[1:]) == 2
    assert "bad.txt: this is no picture that can be read: bad.jpg; " in capsys.readouterr().err
    assert {each.read_text() for each in Path("kept_results").iterdir()} == {"mine\n"}
    assert len(list(Path("kept_results").iterdir())) == 3


def test_the_size_of_the_input_can_be_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detector", "recall", *NET]
    assert run(*line, "imgsz=64") == run(*line) == run(*line, "imgsz=96,128", "-letter_box") == 0
    lines = [each for each in capsys.readouterr().err.splitlines() if "RPs/Img" in each]
    assert lines[:4] == lines[4:8] != lines[8:]


def test_classes_may_be_hidden(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that begins with dont_show is found and not told."""
    (here / "hidden.names").write_text("dont_show_circle\nsquare\ntriangle\n")
    (here / "hidden.data").write_text("classes=3\nnames=hidden.names\n")
    line = ["detector", "test", "hidden.data", *NET[1:], "shapes/images/val/00000.jpg", "-thresh", ".1"]
    assert run(*line, "-out", "hidden.json") == 0
    printed = capsys.readouterr().out
    assert "square: " in printed
    assert "circle" not in printed
    (frame,) = json.loads((here / "hidden.json").read_text())
    assert {each["class_id"] for each in frame["objects"]} == {1, 2}


# --- the others, in this process --------------------------------------------------------------------------------------


@pytest.fixture
def evaluated(here: Path) -> Callable[[str], None]:
    def write(kind: str) -> None:
        text = (here / "shapes" / "shapes.data").read_text()
        (here / "shapes" / f"{kind}.data").write_text(f"{text}eval = {kind}\nresults = results_{kind}\n")

    return write


def test_valid_writes_vocs_files(
    here: Path, evaluated: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated("voc")
    assert run("detector", "valid", "shapes/voc.data", *NET[1:]) == 0
    files = sorted((here / "results_voc").iterdir())
    assert [each.name for each in files] == [f"comp4_det_test_{each}.txt" for each in ("circle", "square", "triangle")]
    rows = [line.split() for each in files for line in each.read_text().splitlines()]
    assert {row[0] for row in rows} <= {f"{index:05d}" for index in range(4)}
    numbers = np.array([row[1:] for row in rows], float)
    assert (numbers[:, 0] > 0.005).all()
    assert (numbers[:, 1:3] >= 1).all()
    assert (numbers[:, 3:] <= 64).all()
    capsys.readouterr()
    assert run("detector", "valid", "shapes/voc.data", *NET[1:], "-out", "x_") == 0
    assert "results_voc/x_circle.txt" in capsys.readouterr().out
    assert run("detector", "valid", "shapes/voc.data", *NET[1:]) == 0
    assert "results_voc/comp4_det_test_circle.txt is replaced" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["net", "region"])
def test_valid_finds_what_darknet_finds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of odd sizes without labels, letterboxed, through two small networks, against lines of Darknet itself."""
    monkeypatch.chdir(tmp_path)
    given = golden("valid_pj.npz")
    for index in range(5):
        Path(f"{index}.png").write_bytes(given[f"image{index}"].tobytes())
    Path("valid.txt").write_text("".join(f"{index}.png\n" for index in range(5)))
    Path("x.data").write_text("classes=2\nvalid=valid.txt\n")
    for kind in ("cfg", "weights"):
        Path(f"net.{kind}").write_bytes(given[f"{name}_{kind}"].tobytes())
    assert run("detector", "valid", "x.data", "net.cfg", "net.weights", "-letter_box") == 0
    found = np.array([
        (index, *map(float, line.split()))
        for index in range(2)
        for line in Path(f"results/comp4_det_test_class{index}.txt").read_text().splitlines()
    ])  # fmt: skip
    wanted = given[f"{name}_rows"]
    # Where two overlap by just the threshold, a rounding decides which line there is.
    assert abs(len(found) - len(wanted)) <= 3
    apart = np.abs(found[None] - wanted[:, None]) / (0.1, 0.1, 1e-5, 0.02, 0.02, 0.02, 0.02)
    assert (apart.max(2).min(1) > 1).sum() <= 3


def test_valid_writes_cocos_and_imagenets_file(here: Path, evaluated: Callable[[str], None]) -> None:
    for kind in ("coco", "imagenet"):
        evaluated(kind)
        assert run("detector", "valid", f"shapes/{kind}.data", *NET[1:]) == 0
    entries = json.loads((here / "results_coco" / "coco_results.json").read_text())
    assert {each["image_id"] for each in entries} == {0, 1, 2, 3}
    assert {each["category_id"] for each in entries} <= {1, 2, 3}
    boxes = np.array([each["bbox"] for each in entries])
    assert boxes.min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:]).max() <= 64 + 1e-4
    lines = (here / "results_imagenet" / "imagenet-detection.txt").read_text().splitlines()
    assert len(lines) == len(entries)
    assert {line.split()[0] for line in lines} == {"1", "2", "3", "4"}


def test_map_tells_both_methods(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("detector", "map", *NET, "-thresh", ".1", "-iou_thresh", ".2", "-points", "11", "json=map.json") == 0
    printed = capfd.readouterr().out
    figures = json.loads((here / "map.json").read_text())
    assert f" mean average precision (mAP@0.20) = {figures['map']:f}" in printed
    assert "used 11 Recall-points" in printed
    assert "for conf_thresh = 0.10, TP = " in printed
    assert "class_id = 0, name = circle, ap = " in printed
    assert figures["map"] == pytest.approx(np.mean([each["ap"] for each in figures["classes"].values()]), abs=1e-5)
    assert sum(each["truths"] for each in figures["classes"].values()) == 11
    assert f"mAP50 = {figures['coco']['map50']:.6f}" in printed
    assert run("map", "cfg=tiny.cfg", "weights=tiny.weights", f"data={NET[0]}", "coco=False", "device=cpu") == 2, (
        "-nogpu"
    )
    own = ["cfg=tiny.cfg", "weights=tiny.weights", f"data={NET[0]}", "coco=False", "device=cpu", "iou_thresh=.2"]
    assert cli.main(["map", *own, "points=11", "thresh=.1", "json=own.json"]) == 0
    again = json.loads((here / "own.json").read_text())
    assert {**figures, "coco": None} == {**again, "coco": None}


def test_recall_counts_what_is_overlapped(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("detector", "recall", *NET) == 0
    lines = capfd.readouterr().err.splitlines()
    form = r" +(\d+) +(\d+) +(\d+)\tRPs/Img: [0-9.]+\tIOU: [0-9.]+%\tRecall:([0-9.]+)%"
    found = [re.fullmatch(form, line) for line in lines]
    assert [each and each[1] for each in found] == ["0", "1", "2", "3"]
    last = found[-1]
    assert last is not None
    assert int(last[3]) == 11
    assert float(last[4]) == pytest.approx(100 * int(last[2]) / 11, abs=0.01)


def test_anchors_are_written_as_darknet_writes_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detector", "calc_anchors", NET[0], "-num_of_clusters", "4", "-width", "64", "-height", "64", "-show"]
    assert cli.main(line) == 0
    printed = capsys.readouterr().out
    anchors = (here / "anchors.txt").read_text()
    assert re.fullmatch(r"( *\d+, *\d+(, )?){4}", anchors)
    assert f"anchors = {anchors}\n" in printed
    counters = (here / "counters_per_class.txt").read_text()
    assert re.fullmatch(r"counters_per_class = \d+, \d+, \d+\n", counters)
    assert counters in printed
    assert re.search(r" avg IoU = \d\d\.\d\d %", printed)
    assert cv2.imread(str(here / "cloud.png")) is not None
    assert cli.main(["anchors", f"data={NET[0]}", "num=4", "imgsz=64"]) == 0
    assert f"num = 4\nanchors = {anchors}\n{counters}" in capsys.readouterr().out
    assert cli.main(line) == 0
    assert "anchors.txt replaced" in capsys.readouterr().out


def test_images_without_labels_are_told_and_counted_as_alexeyabs_darknet_counts_them(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(here / "shapes", tmp_path / "shapes")
    for name in NET[1:]:
        shutil.copy(here / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        sorted(Path(f"shapes/labels/{split}").glob("*.txt"))[0].unlink()
    for words in (["recall"], ["map", "coco=False"]):
        assert run("detector", *words, *NET) == 2
        assert "give missing_labels=skip or background" in capfd.readouterr().err
        assert run("detector", *words, *NET, "flavour=alexeyab") == 0
        said = capfd.readouterr()
        assert "1 of 4 images have no label file and count as images without objects" in said.out + said.err
        assert run("detector", *words, *NET, "missing_labels=skip") == 0
        said = capfd.readouterr()
        assert "1 of 4 images have no label file and are left out" in said.out + said.err
    assert Path("bad_labels.list").read_text().splitlines()[1].endswith("images/val/00000.jpg")
    assert run("detector", "calc_anchors", NET[0], "-width", "64", "-height", "64") == 0
    assert "1 of 10 images have no label file and are left out" in capfd.readouterr().out


def test_the_printed_anchors_can_be_pasted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["anchors", f"data={NET[0]}", "num=3", "imgsz=64"]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("anchors = ")]
    text = (here / "tiny.cfg").read_text().replace("anchors=8,8, 16,16, 28,28", line)
    (here / "pasted.cfg").write_text(text)
    assert len(read_cfg(here / "pasted.cfg").heads[0].anchor_pairs) == 3


# --- partial ----------------------------------------------------------------------------------------------------------


def test_a_backbone_is_darknets_own_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = golden("weights_header.npz")
    monkeypatch.chdir(tmp_path)
    Path("net.cfg").write_text(str(file["cfg"]))
    Path("whole.weights").write_bytes(file["v020_seen64_file"].tobytes())
    wanted = file["save_upto_2"].tobytes()
    assert cli.main(["partial", "net.cfg", "whole.weights", "net.conv.2", "2"]) == 0
    made = Path("net.conv.2").read_bytes()
    # The golden file keeps the count of images, which Darknet's own command sets to 0.
    assert made[:12] + wanted[12:20] + made[20:] == wanted
    assert seen(Path("net.conv.2")) == 0
    header = load_weights(Network(read_cfg("net.cfg")), "net.conv.2", partial=True)
    assert header.layers < 4
    assert cli.main(["partial", "cfg=net.cfg", "weights=net.conv.2", "to=again", "layers=1"]) == 0
    assert Path("again").read_bytes() == made, "a backbone can be cut too; layer 1 has no weights"


# --- mistakes ---------------------------------------------------------------------------------------------------------

BAD = {
    "detector": "no command",
    "detector trian x": "did you mean train",
    "detector train shapes/shapes.data none.cfg": "none.cfg: no such file",
    "detector train none.data tiny.cfg": "none.data: no such file",
    "detector train shapes/shapes.data tiny.cfg none.weights": "no such file",
    "detector train shapes/shapes.data tiny.cfg -i 99": "-i 99: ",
    "detector map shapes/shapes.data tiny.cfg tiny.weights -points 1": "use 0, 11 or 101",
    "detector map shapes/shapes.data tiny.cfg tiny.weights -thresh 7": "at most 1",
    "detector map shapes/shapes.data tiny.cfg none.weights": "no such file",
    "detector test shapes/shapes.data tiny.cfg tiny.weights none.jpg": "none.jpg: no such image",
    "detector test shapes/shapes.data tiny.cfg tiny.weights shapes": "use yolo-subbatch predict source=shapes",
    "detector test shapes/shapes.data tiny.cfg tiny.weights clip.avi": "use yolo-subbatch detector demo",
    "partial grey.cfg tiny.weights x.conv 2": "of 3 channels, but grey.cfg has channels=1",
    "detector test shapes/shapes.data tiny.cfg tiny.weights -out none/r.json": "does not exist; make it first",
    "detector test none.data tiny.cfg tiny.weights shapes/images/val/00000.jpg": "none.data: cannot be read",
    "detector valid shapes/shapes.data tiny.cfg": "WEIGHTS is missing",
    "detector calc_anchors shapes/shapes.data -width 64 -height 64 -num_of_clusters 900": "different sizes",
    "detector calc_anchors none.data -width 64 -height 64": "none.data: no such file",
    "anchors data=shapes/shapes.data picture=x.gif": "PNG and JPEG",
    "anchors data=shapes/shapes.data num=0": "at least 1",
    "map cfg=tiny.cfg data=shapes/shapes.data": "needs its trained weights",
    "map cfg=tiny.cfg weights=tiny.weights data=two.data coco=False device=cpu": "2 classes, but the network has 3",
    "partial tiny.cfg tiny.weights x.conv": "write yolo-subbatch partial CFG WEIGHTS TO LAYERS",
    "partial tiny.cfg tiny.weights x.conv many": "whole number",
    "partial tiny.cfg tiny.weights x.conv 99": "give at most",
    "partial tiny.cfg tiny.weights tiny.weights 2": "this is the file that is read as weights=tiny.weights",
    "partial tiny.cfg none.weights x.conv 2": "no such file",
    "partial tiny.cfg short.weights x.conv 2": "give fewer layers",
    "partial none.cfg tiny.weights x.conv 2": "no such file",
}


@pytest.mark.parametrize("line", BAD)
def test_mistakes_cost_two_and_leave_nothing(here: Path, capfd: pytest.CaptureFixture[str], line: str) -> None:
    (here / "short.weights").write_bytes((here / "tiny.weights").read_bytes()[:100])
    names = "".join(f"shapes/images/val/{index:05d}.jpg\n" for index in range(2))
    (here / "two.txt").write_text(names)
    (here / "clip.avi").write_bytes(b"RIFF")
    (here / "grey.cfg").write_text((here / "tiny.cfg").read_text().replace("channels=3", "channels=1"))
    (here / "two.data").write_text("classes=2\ntrain=two.txt\nvalid=two.txt\n")
    for label in (here / "shapes/labels/val").glob("0000[01].txt"):
        label.write_text(
            label.read_text().replace("2 ", "1 ", 1) if label.read_text().startswith("2 ") else "0 .5 .5 .2 .2\n"
        )
    before = sorted(here.rglob("*"))
    assert cli.main(line.split()) == 2
    printed = capfd.readouterr()
    assert BAD[line] in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("yolo-subbatch: ")
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("data\\a.jpg", "data/a.jpg"),
        (".\\data\\\\new.weights", "./data/new.weights"),
        ("source=data\\*.jpg", "source=data/*.jpg"),
        ("--to=data\\new.weights", "--to=data/new.weights"),
        ("to=e=1\\new.weights", "to=e=1/new.weights"),
        ("nothere\\a.jpg", "nothere\\a.jpg"),
        ("is\\there", "is\\there"),
        ("http://host\\a.jpg", "http://host\\a.jpg"),
    ],
)
def test_paths_of_windows_are_found_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "is", "e=1"):
        Path(folder).mkdir()
    Path("data/a.jpg").touch()
    Path("is\\there").touch()
    assert as_here(typed) == meant


def test_a_command_takes_paths_of_windows(here: Path) -> None:
    assert cli.main(["partial", "tiny.cfg", ".\\tiny.weights", "shapes\\tiny.conv.2", "2"]) == 0
    assert Path("shapes/tiny.conv.2").is_file()
    assert not Path("shapes\\tiny.conv.2").exists()
