"""Nothing that is there is lost, whatever a command is told to write to."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.engine.conftest import cfg_text
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.cli import main
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.darknet.parser import read_cfg
from yolo_subbatch.darknet.regular_files import write_atomically
from yolo_subbatch.darknet.weights import save_weights
from yolo_subbatch.errors import MachineError, YoloSubbatchError
from yolo_subbatch.export.command import export_model
from yolo_subbatch.export.infer import InferError, InferSettings, check_settings, output_fault
from yolo_subbatch.export.triton import check_triton
from yolo_subbatch.folder.backup_folder import Backup
from yolo_subbatch.folder.window_checks import check_gui
from yolo_subbatch.settings import output_checks
from yolo_subbatch.settings.command_checks import (
    check_anchors,
    check_convert,
    check_map,
    check_partial,
    check_predict,
    check_test,
    check_val,
    check_video,
)
from yolo_subbatch.settings.commands import (
    AnchorsSettings,
    ConvertSettings,
    ExportSettings,
    GuiSettings,
    MapSettings,
    PartialSettings,
    PredictSettings,
    TritonSettings,
    ValSettings,
)
from yolo_subbatch.settings.export_checks import check_export
from yolo_subbatch.settings.file_marks import is_ours, mark, marked
from yolo_subbatch.settings.output_checks import write_json, write_output
from yolo_subbatch.settings.result_names import outputs_of_valid

NOBODY = 65534


@dataclass(frozen=True)
class Case:
    """An output of a command: how it is checked with a file to write, what it reads, how its file may be called."""

    name: str
    check: Callable[[str], object]
    ending: str
    reads: tuple[str, ...]


def check_of_valid(out: str) -> None:
    """Every class has its file; ``out`` is that of the first."""
    problems = outputs_of_valid(replace(ValSettings(), **NET, data="shapes/valid.data"), out.removesuffix("circle.txt"))
    if problems:
        raise YoloSubbatchError(problems[0].text)


NET: dict[str, Any] = {"cfg": "tiny.cfg", "weights": "tiny.weights"}
DATA = "shapes/shapes.data"
VIDEO = {"-dont_show": True}
CASES = [
    Case("val json", lambda to: check_val(ValSettings(**NET, data=DATA, json=to)), ".json",
         ("tiny.cfg", "tiny.weights", DATA, "shapes/val.txt", "shapes/shapes.names", "IMAGE", "LABEL")),
    Case("map json", lambda to: check_map(MapSettings(**NET, data=DATA, json=to)), ".json", ("tiny.weights", "IMAGE")),
    Case("predict json", lambda to: check_predict(PredictSettings(**NET, source="IMAGES", json=to)), ".json",
         ("tiny.weights", "IMAGE")),
    Case("detector test -out", lambda to: check_test(PredictSettings(**NET, source="IMAGE", json=to), ""), ".json",
         ("tiny.cfg", "IMAGE")),
    Case("detector demo -out_filename",
         lambda to: check_video(PredictSettings(**NET, source="IMAGE"), "", {**VIDEO, "-out_filename": to}), ".avi",
         ("IMAGE", "tiny.weights")),
    Case("detector demo -json_file_output",
         lambda to: check_video(PredictSettings(**NET, source="IMAGE", json=to), "", VIDEO), ".json", ("IMAGE",)),
    Case("detector demo -prefix",
         lambda to: check_video(
             PredictSettings(**NET, source="IMAGE"), "", {**VIDEO, "-prefix": to.removesuffix("_00000000.jpg")}),
         "_00000000.jpg", ()),
    Case("detector valid -out", check_of_valid, "circle.txt", ()),
    Case("anchors to", lambda to: check_anchors(AnchorsSettings(data=DATA, to=to)), ".txt",
         (DATA, "shapes/train.txt", "IMAGE", "LABEL")),
    Case("anchors picture", lambda to: check_anchors(AnchorsSettings(data=DATA, picture=to)), ".png", ()),
    Case("partial to", lambda to: check_partial(PartialSettings(**NET, layers=2, to=to)), ".conv",
         ("tiny.cfg", "tiny.weights")),
    Case("convert to", lambda to: check_convert(ConvertSettings(**NET, to=to)), ".weights", ("tiny.weights",)),
    Case("export to", lambda to: check_export(ExportSettings(**NET, to=to)), ".onnx", ()),
    Case("gui screenshot", lambda to: check_gui(GuiSettings(screenshot=to)), ".png", ()),
    Case("infer json", lambda to: check_settings(InferSettings(model="net.onnx", source="IMAGES", json=to)), ".json",
         ("net.onnx", "IMAGE")),
]  # fmt: skip


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that another user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        monkeypatch.chdir(folder)
        write_shapes(Path("shapes"), Numbers(2, 1, 64, 7))
        Path("tiny.cfg").write_text(cfg_text())
        save_weights(Network(read_cfg("tiny.cfg")), "tiny.weights", seen=0)
        Path("net.onnx").write_bytes(b"\x08\x08\x12\x0cyolo-subbatch")
        images = next(Path("shapes").glob("images/val"))
        Path("IMAGES").symlink_to(images)
        Path("IMAGE").symlink_to(next(images.glob("*.jpg")))
        Path("LABEL").symlink_to(next(Path("shapes/labels/val").glob("*.txt")))
        Path("shapes/valid.data").write_text(Path(DATA).read_text().replace("backup = backup", "") + "\nresults = .\n")
        yield Path(folder)


def refusal(case: Case, to: str) -> str:
    try:
        case.check(to)
    except (YoloSubbatchError, InferError) as error:
        return str(error)
    return ""


def contents(place: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in sorted(place.rglob("*")) if each.is_file()}


def test_only_a_regular_file_that_can_be_written_is_written(place: Path) -> None:
    """No device, pipe, socket or folder; no folder that is not there."""
    for case in CASES:
        ending = case.ending
        os.mkfifo(f"pipe{ending}")
        Path(f"folder{ending}").mkdir()
        Path(f"device{ending}").symlink_to(os.devnull)
        socket.socket(socket.AF_UNIX).bind(f"socket{ending}")
        wanted = {"pipe": "pipe", "folder": "folder", "device": "device", "socket": "socket", "none/x": "folder none"}
        for name, word in wanted.items():
            text = refusal(case, f"{name}{ending}")
            assert word in text, (case.name, name)
            assert ";" in text, "and what to do"
        for name in ("pipe", "device", "socket"):
            os.unlink(f"{name}{ending}")
        Path(f"folder{ending}").rmdir()
        assert refusal(case, f"new{ending}") == "", case.name


def test_what_a_command_reads_is_never_written(place: Path) -> None:
    """Under whatever name, also with ``overwrite=True``, which every refusal of another file offers."""
    before = contents(place)
    for case in CASES:
        for read in case.reads:
            assert refusal(case, read), (case.name, read)
            for link in (os.link, os.symlink):
                link(os.path.realpath(read), f"other{case.ending}")
                assert "read as" in refusal(case, f"other{case.ending}") or "images of" in refusal(
                    case, f"other{case.ending}"
                ), (case.name, read)
                os.unlink(f"other{case.ending}")
    assert contents(place) == before
    for settings in (
        ValSettings(**NET, data=DATA, json="tiny.weights", overwrite=True),
        ValSettings(**NET, data=DATA, json="IMAGE", overwrite=True),
    ):
        with pytest.raises(YoloSubbatchError, match=r"^json=\S+: this is the file that is read as .*; give another"):
            check_val(settings)
    with pytest.raises(InferError, match="one of the images"):
        check_settings(InferSettings(model="net.onnx", source="IMAGES", json="IMAGE", overwrite=True))


def test_a_file_of_somebody_else_stays(place: Path) -> None:
    """Unless it is to be replaced; what looks alike, such as another list of images in JSON, is no result."""
    foreign = json.dumps([{"image": "a.jpg", "annotations": [{"label": "cat"}]}]).encode()
    for case in CASES:
        file = Path(f"mine{case.ending}")
        file.write_bytes(foreign)
        assert "not overwritten" in refusal(case, str(file)), case.name
        assert "overwrite=True" in refusal(case, str(file)), case.name
        assert file.read_bytes() == foreign
    check_val(ValSettings(**NET, data=DATA, json="mine.json", overwrite=True))
    check_convert(ConvertSettings(**NET, to="mine.weights", overwrite=True))
    check_settings(InferSettings(model="net.onnx", source="IMAGES", json="mine.json", overwrite=True))
    with pytest.raises(YoloSubbatchError, match="the same file as to="):
        check_anchors(AnchorsSettings(data=DATA, to="new.png", picture="new.png"))


def test_a_result_of_before_is_replaced(place: Path) -> None:
    """It is known by what is in it, whichever command wrote it."""
    cv2.imwrite("other.png", np.zeros((4, 4, 3), np.uint8))
    box = {"image": 'a "b".jpg', "width": 3, "height": 4, "detections": []}
    frame = {"frame_id": 1, "filename": "a.jpg", "objects": []}
    figures = {"map50": 0.1, "map": 0.1, "task": "detect", "split": "val", "data": "a", "classes": {}}
    darknets = {"map": 0.1, "thresh": 0.25, "iou_thresh": 0.5, "points": 0, "classes": {}}
    for document in ([], [box], [frame], figures, darknets):
        write_json("a.json", document)
        assert is_ours(Path("a.json"), "json"), document
    for document in ({}, {"map": 1}, [1], [{"image": "a.jpg", "label": 1}], [{"image_id": 3, "caption": "a"}]):
        write_json("a.json", document)
        assert not is_ours(Path("a.json"), "json"), document
    for name in ("a.png", "a.jpg", "a.avi", "a.mp4"):
        picture = np.full((16, 16, 3), 90, np.uint8)
        if name.endswith("g"):
            cv2.imwrite(name, picture)
        else:
            code = cv2.VideoWriter.fourcc(*("mp4v" if name == "a.mp4" else "MJPG"))
            video = cv2.VideoWriter(name, code, 5, (16, 16))
            video.write(picture)
            video.release()
        assert not is_ours(Path(name), "picture"), name
        mark(name)
        assert is_ours(Path(name), "picture"), name
        there, shown = (True, cv2.imread(name)) if name.endswith("g") else cv2.VideoCapture(name).read()
        assert there, "and still opens"
        assert shown.shape == (16, 16, 3)
    data = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert data[:20] == marked(data)[:20], "what names the format comes first"


def test_the_unwritable_is_told_before_work_begins(place: Path) -> None:
    """As a user who may not write there; today's root may write anywhere."""
    if os.geteuid() != 0 or not hasattr(os, "fork"):
        pytest.skip("only root can become another user")
    for case in CASES:
        os.makedirs(f"locked{case.ending}.d", exist_ok=True)
        Path(f"old{case.ending}").touch(0o444)
        if case.ending in {".weights", ".conv"}:
            Path(f"old{case.ending}").unlink()
    triton = TritonSettings(model="net.onnx", out="repository")
    checks: list[Callable[[], object]] = [lambda: check_triton(triton)]
    for case in CASES:
        checks.append(lambda case=case: case.check(f"locked{case.ending}.d/new{case.ending}"))  # type: ignore[misc]
        if Path(f"old{case.ending}").exists():
            checks.append(lambda case=case: case.check(f"old{case.ending}"))  # type: ignore[misc]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            status = sum(not _is_refused(check) for check in checks)
        finally:
            os._exit(min(status, 100))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _is_refused(check: Callable[[], object]) -> bool:
    try:
        check()
    except (YoloSubbatchError, InferError) as error:
        return any(word in str(error) for word in ("can be written", "cannot be written", "write-protected"))
    return False


def test_the_script_alone_knows_its_results_as_every_command_does(place: Path) -> None:
    """It has copies of its own, since it stands alone."""
    box = {"image": "a.jpg", "width": 3, "height": 4, "detections": []}
    speed = {"provider": "cpu", "batch": 1, "imgsz": [64, 64]}
    documents = (
        [],
        [box],
        speed,
        {},
        [1],
        {"provider": "cpu"},
        [{"image": "a.jpg", "label": 1}],
        [{**box, "width": "x"}],
    )
    for document in documents:
        write_json("a.json", document)
        settings = InferSettings(model="net.onnx", source="IMAGES", json="a.json")
        assert (output_fault("a.json", settings) is None) == is_ours(Path("a.json"), "json"), document


def test_what_is_put_in_the_way_meanwhile_stays(place: Path) -> None:
    """A pipe or a device that comes between the check and the end of the work."""
    os.mkfifo("pipe.json")
    with pytest.raises(MachineError, match=r"json=pipe\.json: no regular file any more"):
        write_json("pipe.json", [], "json")
    with pytest.raises(OSError, match="no regular file"):
        write_atomically(Path("pipe.json"), b"")
    assert stat.S_ISFIFO(os.stat("pipe.json").st_mode)
    Path("link.json").symlink_to("real.json")
    write_output("link.json", b"[]")
    assert Path("link.json").is_symlink()
    assert Path("real.json").read_bytes() == b"[]"
    with pytest.raises(MachineError, match=r"json=none/a\.json: cannot be written \(No such file or directory\)"):
        write_json("none/a.json", [], "json")
    assert not list(place.glob(".*"))


def test_what_lies_beside_a_result_stays(place: Path) -> None:
    """Parts of a divided file have a number too, and a link may wait under a name that could be a draft's."""
    Path("a.json").write_text("[]")
    Path("a.json").chmod(0o600)
    parts = [Path(f"a.json.part{number}") for number in (1, 99_999_999, os.getpid())]
    for part in parts:
        part.write_text("mine")
    write_json("a.json", [1], "json")
    write_json("n" * 250 + ".json", [], "json")
    assert [part.read_text() for part in parts] == ["mine"] * 3
    assert stat.S_IMODE(os.stat("a.json").st_mode) == 0o600, "who may read it stays as it was"


def test_weights_in_a_backup_folder_are_replaced_and_nothing_else_is(place: Path) -> None:
    """As in Darknet, also those that a training begins with; a text of that name is not."""
    Path("kept.data").write_text(Path(DATA).read_text() + "\nbackup = kept\n")
    Path("kept").mkdir()
    Path("kept/tiny_last.weights").write_bytes(Path("tiny.weights").read_bytes())
    Path("kept/tiny_final.txt").write_text("mine")
    assert Backup.of("kept.data", "tiny.cfg", best=False) is not None
    for name in ("tiny_final", "tiny_2000"):
        file = Path(f"kept/{name}.weights")
        file.write_text("my notes on this network\n")
        with pytest.raises(YoloSubbatchError, match=rf"{name}\.weights: holds no weights of Darknet"):
            Backup.of("kept.data", "tiny.cfg", best=False)
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(YoloSubbatchError, match="this is a pipe"):
            Backup.of("kept.data", "tiny.cfg", best=False)
        file.unlink()


def test_labels_and_files_of_classes_keep_to_their_places(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list of images is no label file, and a class's name is no path."""
    Path("images.txt").write_text("images.jpg\n")
    Path("images.jpg").write_bytes(Path("IMAGE").read_bytes())
    settings = PredictSettings(**NET, source="images.txt")
    with pytest.raises(YoloSubbatchError, match=r"images\.txt: this is the file that is read as images\.txt"):
        check_test(settings, "", labels=True)
    Path("predictions.jpg").write_bytes(Path("IMAGE").read_bytes())
    with pytest.raises(YoloSubbatchError, match=r"predictions\.jpg exists and was not written by this program"):
        check_test(PredictSettings(**NET, source="IMAGE"), "")
    Path("bad.names").write_text("../../outside\nb\nc\n")
    Path("bad.data").write_text("classes = 3\nnames = bad.names\nvalid = shapes/val.txt\n")
    (problem,) = outputs_of_valid(ValSettings(**NET, data="bad.data"), None)
    assert "a name that no file can have" in problem.text
    (problem,) = outputs_of_valid(ValSettings(**NET, data="shapes/valid.data"), "a/b/c")
    assert "the folder a/b does not exist" in problem.text
    assert not Path("results").exists()


def test_the_command_line_leaves_the_model_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(place)
    assert main(["val", "cfg=tiny.cfg", "weights=tiny.weights", f"data={DATA}", "json=tiny.weights"]) == 2
    assert main(["partial", "tiny.cfg", "tiny.weights", os.devnull, "2"]) == 2
    assert "this is a device" in capsys.readouterr().err
    assert contents(place) == before


def test_a_network_that_is_loaded_is_not_exported_over_its_own_file(place: Path) -> None:
    model: Any = object()
    with pytest.raises(YoloSubbatchError, match=r"net\.onnx: this is the file that is read"):
        export_model(model, ExportSettings(), Path("net.onnx"), print)


def test_many_frames_of_before_are_looked_at_once_each(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video has thousands, and what is read is the same for all of them."""
    asked: list[Path] = []
    seen: Callable[[Path], object] = output_checks.identity
    monkeypatch.setattr(output_checks, "identity", lambda file: asked.append(file) or seen(file))
    for number in range(200):
        Path(f"out_{number:08d}.jpg").touch()
    check_video(PredictSettings(**NET, source="IMAGE"), "", {**VIDEO, "-prefix": "out"})
    assert len(asked) < 3 * 200


def test_a_list_that_a_yaml_names_is_read(place: Path) -> None:
    Path("lists.yaml").write_text("path: .\ntrain: shapes/train.txt\nval: shapes/val.txt\nnames: [a, b, c]\n")
    with pytest.raises(YoloSubbatchError, match=r"read as val of data=lists\.yaml"):
        check_val(ValSettings(**NET, data="lists.yaml", json="shapes/val.txt", overwrite=True))


def test_a_picture_of_a_run_takes_the_place_of_none_of_its_files(tmp_path) -> None:
    run, picture = tmp_path / "run", tmp_path / "picture.png"
    (run / "weights").mkdir(parents=True)
    for name, link in (("events.jsonl", os.link), ("weights/best.pt", os.symlink)):
        (run / name).write_text("mine")
        link(run / name, picture)
        with pytest.raises(YoloSubbatchError, match=f"the file that is read as {Path(name).name} of run="):
            check_gui(GuiSettings(run=str(run), screenshot=str(picture), overwrite=True))
        picture.unlink()
