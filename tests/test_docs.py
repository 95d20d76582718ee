"""The guide from Darknet lists every key that the parser knows, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_subbatch.darknet.key_table import BEGIN, END, tables, with_tables
from yolo_subbatch.darknet.sections import SECTION_TYPES, keys_of

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "from-darknet.md"


def test_the_guide_is_as_new_as_the_sections() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run make docs"


def test_every_key_of_every_section_is_in_it() -> None:
    text = tables()
    for title, kind in SECTION_TYPES.items():
        assert f"### `[{title}]`" in text
        for key in {*keys_of(kind), *kind.ignored, *kind.unsupported}:
            assert f"`{key}`" in text, f"[{title}] {key}"


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no part from"):
        with_tables("no table here")
    assert with_tables(f"before\n{BEGIN}\nold\n{END}\nafter").startswith("before\n")


def test_the_module_rewrites_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{BEGIN}\n{END}\nlast\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "yolo_subbatch.darknet.key_table", str(page)], check=True)
    assert page.read_text(encoding="utf-8") == f"# Title\n{BEGIN}\n\n{tables()}\n{END}\nlast\n"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
