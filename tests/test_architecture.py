"""Who may import whom, what loads without torch, and whether every package is shipped."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import yolo_subbatch
from yolo_subbatch import darknet
from yolo_subbatch.moved import MOVED

ROOT = Path(__file__).parents[1]
SOURCES = {
    "darknet": ROOT / "yolo_subbatch" / "darknet", "settings": ROOT / "yolo_subbatch" / "settings",
    "folder": ROOT / "yolo_subbatch" / "folder", "engine": ROOT / "yolo_subbatch" / "engine", "cfg": ROOT / "cfg", "export": ROOT / "export", "gui": ROOT / "gui",
}  # fmt: skip
#: What of ``darknet`` needs no torch, and may be imported where that must not be.
WITHOUT_TORCH = (
    "sections", "parser", "schedule", "datafile", "geometry", "plan", "report", "textfile", "pictures", "label_faults",
    "weights_header", "weights_kinds", "explicit", "regular_files",
)  # fmt: skip
FORMATS = {f"darknet.{name}" for name in WITHOUT_TORCH}
#: What each package may import of this project besides itself and the errors.
ALLOWED = {
    "darknet": set(),
    "settings": FORMATS,
    "folder": {"settings", *FORMATS},
    "engine": {
        "darknet",
        "settings",
        "folder",
        "built_in_data",
        "export.infer",
    },  # that file imports nothing of this project
    "cfg": set(),
    "export": {"darknet", "engine", "settings", "folder"},
    "gui": {"settings", "folder"},
}
#: What no module of a package may import, at whatever place.
FORBIDDEN = {
    "darknet": {"ultralytics", "PySide6", "pyqtgraph"},
    **{room: {"torch", "ultralytics", "numpy", "cv2", "PySide6", "pyqtgraph"} for room in ("settings", "folder")},
    "engine": {"PySide6", "pyqtgraph"},
    "gui": {"torch", "ultralytics"},
    "export": {"PySide6", "pyqtgraph"},
}
#: What each room of the window knows besides itself; the modules outside of rooms know all of them, and none knows these.
GUI_ROOMS = {
    "toolkit": set(),
    "runs": {"toolkit"},
    "form": {"toolkit"},
    "plots": {"toolkit", "runs"},
    "panes": {"toolkit", "runs"},
    "export": {"toolkit", "runs", "form"},
}


def modules(package: str) -> list[Path]:
    return sorted(SOURCES[package].rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Return every absolute module name that a file imports, names of submodules included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
            found.update(f"{node.module}.{each.name}" for each in node.names)
    return found


def test_imports_go_one_way() -> None:
    seen = 0
    for package, file in [(room, each) for room in SOURCES for each in modules(room)]:
        names = imported(file)
        assert not {name.split(".")[0] for name in names} & FORBIDDEN.get(package, set()), file
        ours = {name.removeprefix("yolo_subbatch.") for name in names if name.startswith("yolo_subbatch.")}
        allowed = ALLOWED[package] | {package, "errors"}
        strange = {name for name in ours if not any(name == each or name.startswith(f"{each}.") for each in allowed)}
        assert not {name for name in strange if name.split(".")[0] in SOURCES or name == "built_in_data"}, file
        seen += len(ours)
    assert seen > 1000


def test_nothing_imports_in_a_circle() -> None:
    """Also not inside of functions, or for types alone."""
    files = {file.relative_to(ROOT / "yolo_subbatch").with_suffix("").parts: file
             for file in (ROOT / "yolo_subbatch").rglob("*.py")}  # fmt: skip
    files |= {
        file.relative_to(ROOT).with_suffix("").parts: file for room in ("export", "cfg") for file in modules(room)
    }
    files = {name: file for name, file in files.items() if name[-1] != "__init__"}
    graph = {}
    for name, file in files.items():
        ours = {each.removeprefix("yolo_subbatch.") for each in imported(file) if each.startswith("yolo_subbatch.")}
        graph[name] = {tuple(each.split(".")) for each in ours} & files.keys()
    assert sum(map(len, graph.values())) > 700
    assert circle(graph) == []
    back = {**graph, ("darknet", "sections"): {("engine", "api")}}
    assert circle(back), "a circle is seen"


def test_no_two_modules_have_one_name() -> None:
    """Whoever looks for the one would find the other."""
    names = [file.stem for package in SOURCES for file in modules(package)]
    names += [file.stem for file in (ROOT / "yolo_subbatch").glob("*.py")]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"__init__"}


def test_only_the_engine_imports_ultralytics() -> None:
    users = {file for file in (ROOT / "yolo_subbatch").rglob("*.py")
             if any(name.split(".")[0] == "ultralytics" for name in imported(file))}  # fmt: skip
    assert users
    assert {file.parent.name for file in users} == {"engine"}


def test_formats_load_without_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'ultralytics', 'cv2'): sys.modules[name] = None\n"
        f"for name in {WITHOUT_TORCH!r}: __import__(f'yolo_subbatch.darknet.{{name}}')\n"
        "from yolo_subbatch.darknet import parse_cfg, read_cfg, learning_rate\n"
        "from yolo_subbatch.settings.find import find_cfg\n"
        "assert learning_rate(read_cfg(find_cfg('yolov3.cfg')).net, 1000) == 0.001\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", [yolo_subbatch, darknet])
def test_public_names_are_sorted_and_there(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert list(names) == sorted(names)
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_every_package_is_shipped() -> None:
    """An editable install would hide a forgotten one."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    mapped = {folder: name.split(".") for name, folder in tool["package-dir"].items()}
    folders = {
        file.parent for top in ("yolo_subbatch", "cfg", "export", "gui") for file in (ROOT / top).rglob("__init__.py")
    }
    parts = [folder.relative_to(ROOT).parts for folder in folders]
    found = {".".join([*mapped.get(top, [top]), *rest]) for top, *rest in parts}
    assert found == set(tool["packages"])
    for package, patterns in tool["package-data"].items():
        folder = ROOT / tool["package-dir"].get(package, package.replace(".", "/"))
        assert all(list(folder.glob(pattern)) for pattern in patterns)


def gui_imports(file: Path) -> set[tuple[str, ...]]:
    """Return the modules of the window that a file imports at whatever place, also for types alone: ``("runs", "reader")``."""
    here, found = file.parent.relative_to(SOURCES["gui"]).parts, set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*here[: len(here) + 1 - node.level], *(node.module or "").split("."))
            found |= {tuple(filter(None, base)), *(tuple(filter(None, (*base, name.name))) for name in node.names)}
    names = {
        name.removeprefix("yolo_subbatch.gui.") for name in imported(file) if name.startswith("yolo_subbatch.gui.")
    }
    found |= {tuple(name.split(".")) for name in names}
    return {parts for parts in found if (SOURCES["gui"].joinpath(*parts).with_suffix(".py")).is_file()}


def test_rooms_of_the_window_know_each_other_one_way() -> None:
    assert {file.parent.name for file in SOURCES["gui"].glob("*/__init__.py")} == set(GUI_ROOMS)
    seen = 0
    for room, known in GUI_ROOMS.items():
        for file in (SOURCES["gui"] / room).glob("*.py"):
            rooms = {parts[0] for parts in gui_imports(file)}
            assert rooms <= known | {room}, file
            seen += len(rooms)
    assert seen > 30


def circle(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Return the modules of a circle of imports, or nothing."""
    done: set[tuple[str, ...]] = set()

    def walk(node: tuple[str, ...], way: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for other in sorted(graph[node]):
            if found := walk(other, [*way, node]):
                return found
        done.add(node)
        return []

    return next(filter(None, (walk(node, []) for node in sorted(graph))), [])


def test_the_window_imports_in_no_circle() -> None:
    files = {file.relative_to(SOURCES["gui"]).with_suffix("").parts: file for file in modules("gui")}
    graph = {name: gui_imports(file) for name, file in files.items()}
    assert sum(map(len, graph.values())) > 100
    assert circle(graph) == []
    back = {**graph, ("toolkit", "theme"): {("main_window",)}}
    assert circle(back)[0] == circle(back)[-1], "a circle is seen"


def test_no_file_is_called_after_nothing() -> None:
    names = {file.stem for folder in SOURCES.values() for file in folder.rglob("*.py")}
    assert not names & {"utils", "misc", "helpers", "common"}


def test_modules_that_moved_import_under_their_old_names() -> None:
    for old, new in MOVED.items():
        sys.modules.pop(f"yolo_subbatch.{old}", None)
        with pytest.warns(DeprecationWarning, match=f"yolo_subbatch.{new} now"):
            there = import_module(f"yolo_subbatch.{old}")
        assert there is import_module(f"yolo_subbatch.{new}"), "what is set in it has its effect"
        assert there.__name__ == there.__spec__.name == f"yolo_subbatch.{new}"
        sys.modules.pop(f"yolo_subbatch.{old}", None)
        assert not (ROOT / "yolo_subbatch" / Path(*old.split("."))).with_suffix(".py").exists()
    with pytest.raises(ModuleNotFoundError):
        import_module("yolo_subbatch.run.nothing")
