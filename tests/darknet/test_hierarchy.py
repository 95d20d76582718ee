"""Hierarchies of classes against real Darknet's walk and against plain recursion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import golden
from yolo_subbatch.darknet.hierarchy import Hierarchy, Tree, read_map, read_tree
from yolo_subbatch.errors import CfgError


def random_tree(seed: int, groups: int = 12) -> Tree:
    """Return a tree whose groups have one to four classes and hang anywhere above."""
    rng = np.random.default_rng(seed)
    parents = [-1] * int(rng.integers(1, 5))
    numbers = [0] * len(parents)
    free = set(range(len(parents)))
    for group in range(1, groups):
        parent = int(rng.choice(sorted(free)))
        free.discard(parent)
        count = int(rng.integers(1, 5))
        free |= set(range(len(parents), len(parents) + count))
        parents += [parent] * count
        numbers += [group] * count
    return Tree([f"n{i}" for i in range(len(parents))], parents, numbers)


def test_reading_a_tree(tmp_path):
    file = tmp_path / "x.tree"
    file.write_text("a -1\nb -1\nc 1\nd 1\ne 0\n")
    assert read_tree(file) == Tree(["a", "b", "c", "d", "e"], [-1, -1, 1, 1, 0], [0, 0, 1, 1, 2])


@pytest.mark.parametrize(("text", "part"), [
    ("", "empty"), ("a -1\nb\n", r":2: no class and parent"), ("a -1\nb x\n", r":2: no class and parent"),
    ("a 0\n", r":1: parent 0"), ("a -1\nb 2\nc -1\n", r":2: parent 2"), ("a -2\n", r":1: parent -2"),
])  # fmt: skip
def test_a_damaged_tree_is_refused(tmp_path, text, part):
    file = tmp_path / "x.tree"
    file.write_text(text)
    with pytest.raises(CfgError, match=part):
        read_tree(file)


def test_a_map_is_a_number_a_line(tmp_path):
    file = tmp_path / "x.map"
    file.write_text("5\n0\n17\n")
    assert read_map(file) == [5, 0, 17]
    file.write_text("5\nzero\n")
    with pytest.raises(CfgError, match=r":2: no whole number"):
        read_map(file)
    file.write_bytes(b"5\0")
    with pytest.raises(CfgError, match="binary file"):
        read_map(file)
    file.write_text("\uff15\n", encoding="utf-8")
    with pytest.raises(CfgError, match=r":1: no whole number"):
        read_map(file)


def test_a_name_in_a_hierarchy_may_hold_any_character_but_a_blank(tmp_path):
    file = tmp_path / "x.tree"
    file.write_text("a\u2028b -1\r\nc\u00a0d\t-1\n\x85 0", encoding="utf-8")
    assert read_tree(file).names == ["a\u2028b", "c\u00a0d", "\x85"]


@pytest.mark.parametrize(("name", "thresh"), [("05", 0.5), ("02", 0.2)])
def test_the_walk_is_darknets(tmp_path, name, thresh):
    g = golden("region_pj.npz")
    file = tmp_path / "small.tree"
    file.write_text(str(g["tree"]))
    hierarchy = Hierarchy(read_tree(file))
    absolute = hierarchy.absolute(torch.from_numpy(g["conditional"]))
    assert np.array_equal(absolute.numpy(), g["absolute"])
    assert hierarchy.top(absolute, thresh).tolist() == g[f"top_{name}"].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_softmax_for_every_group(seed):
    tree = random_tree(seed)
    hierarchy, logits = Hierarchy(tree), torch.randn(4, len(tree.parents)) * 30
    found = hierarchy.log_softmax(logits)
    for group in set(tree.groups):
        part = [index for index, each in enumerate(tree.groups) if each == group]
        assert torch.allclose(found[:, part], logits[:, part].log_softmax(1), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_plain_probabilities_are_products_of_the_way(seed):
    tree = random_tree(seed)
    conditional = torch.rand(3, len(tree.parents), dtype=torch.float64)
    found = Hierarchy(tree).absolute(conditional)
    for index in range(len(tree.parents)):
        product, node = torch.ones(3, dtype=torch.float64), index
        while node >= 0:
            product, node = product * conditional[:, node], tree.parents[node]
        assert torch.allclose(found[:, index], product)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_traced_gives_the_same(seed):
    """Another way is exported: see `_group_max`."""
    tree = random_tree(seed)
    hierarchy, logits = Hierarchy(tree), (torch.randn(6, len(tree.parents)) * 3).round()  # with ties

    def decide(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        absolute = hierarchy.absolute(hierarchy.log_softmax(x).exp())
        return absolute, hierarchy.top(absolute)

    with torch.no_grad():
        traced = torch.jit.trace(decide, (torch.zeros_like(logits),), check_trace=False)
        for found, wanted in zip(traced(logits), decide(logits), strict=True):
            assert torch.equal(found, wanted)


def walk(tree: Tree, row: list[float], thresh: float) -> int:
    """Go down as Darknet does."""
    reached, group = 1.0, 0
    while True:
        members = [index for index, each in enumerate(tree.groups) if each == group]
        best = max(members, key=lambda index: row[index])
        if reached * row[best] > thresh:
            reached *= row[best]
            below = [tree.groups[index] for index, parent in enumerate(tree.parents) if parent == best]
            if not below:
                return best
            group = below[0]
        elif group == 0:
            return best
        else:
            return tree.parents[members[0]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("thresh", [0.01, 0.3, 0.7])
def test_the_walk_equals_a_plain_one(seed, thresh):
    tree = random_tree(seed)
    hierarchy = Hierarchy(tree)
    absolute = hierarchy.absolute(hierarchy.log_softmax(torch.randn(40, len(tree.parents)) * 4).exp())
    assert hierarchy.top(absolute, thresh).tolist() == [walk(tree, row, thresh) for row in absolute.tolist()]


def test_the_last_truth_of_a_cell_decides_in_the_groups_that_it_asks():
    hierarchy = Hierarchy(Tree([], [-1, -1, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2]))
    targets = hierarchy.targets(torch.tensor([2, 4, 3]), torch.tensor([0, 0, 1]), 2)
    assert targets.tolist() == [[0, 1, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0]]


def test_the_gradient_is_minus_the_delta():
    tree = random_tree(7)
    hierarchy, logits = Hierarchy(tree), torch.randn(5, len(tree.parents), dtype=torch.float64, requires_grad=True)
    labels = torch.arange(5) * 3 % len(tree.parents)
    losses, delta = hierarchy.loss(logits, hierarchy.targets(labels, torch.arange(5), 5).double())
    losses.sum().backward()
    assert torch.allclose(logits.grad, -delta)
