"""The hierarchy of classes of YOLO9000: a softmax over every group of siblings instead of one over all classes.

Source: darknet ``read_tree``, ``hierarchy_predictions`` and ``hierarchy_top_prediction`` in src/tree.c,
``softmax_tree`` in src/blas_kernels.cu; Redmon and Farhadi 2017, section 4.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolo_subbatch.darknet.textfile import bare, columns_of, lines_of, read_text
from yolo_subbatch.errors import CfgError

DIGITS, WHOLE = re.compile("[0-9]+"), re.compile("[+-]?[0-9]+")
TREE_THRESH = 0.5  # how sure a class must be for its own subclasses to be asked; Darknet's `-hier`


class Tree(NamedTuple):
    """A hierarchy file: for each class its name, its parent (-1 for none) and its group of siblings."""

    names: list[str]
    parents: list[int]
    groups: list[int]


def read_tree(file: str | Path) -> Tree:
    """Read a hierarchy: a class and the line of its parent a line; siblings stand together, parents before children.

    Raises:
        CfgError: If the file cannot be read or a line is not of that form.
    """
    names: list[str] = []
    parents: list[int] = []
    groups: list[int] = []
    for number, line in enumerate(_lines(file, "tree"), 1):
        parts = columns_of(line)
        try:
            name, parent = parts[0], int(parts[1] if WHOLE.fullmatch(parts[1]) else "")
        except (IndexError, ValueError):
            raise CfgError(f"{file}:{number}: no class and parent; write a name and the parent's line or -1") from None
        if not -1 <= parent < len(parents):
            raise CfgError(f"{file}:{number}: parent {parent}; a parent stands on an earlier line, or is -1")
        groups.append(groups[-1] + (parent != parents[-1]) if groups else 0)
        names.append(name)
        parents.append(parent)
    if not names:
        raise CfgError(f"{file}: the file is empty; give a hierarchy of classes")
    return Tree(names, parents, groups)


def read_map(file: str | Path) -> list[int]:
    """Read the numbers of a map file, one a line.

    Raises:
        CfgError: If the file cannot be read or a line holds no whole number.
    """
    lines = _lines(file, "map")
    for number, line in enumerate(lines, 1):
        if not DIGITS.fullmatch(bare(line)) or len(line) > 20:
            raise CfgError(f"{file}:{number}: no whole number; write the class's line in the tree")
    return [int(line) for line in lines]


def _lines(file: str | Path, key: str) -> list[str]:
    path = Path(file)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise CfgError(f"{file}: no ordinary file; check {key}= in [region]")  # a device would be read for ever
        return lines_of(read_text(path, f"{key}= in [region]", kind=CfgError))
    except (OSError, ValueError) as error:  # ValueError: no possible name of a file
        reason = getattr(error, "strerror", None) or "no name of a file"
        raise CfgError(f"{file}: cannot be read ({reason}); check {key}= in [region]") from error


class Hierarchy(nn.Module):
    """The mathematics of a hierarchy of ``C`` classes in ``G`` groups.

    Args:
        tree: The hierarchy.
    """

    group: Tensor
    path: Tensor
    child: Tensor
    above: Tensor
    order: Tensor
    last: Tensor
    parent_place: Tensor

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        classes = len(tree.parents)
        paths: list[list[int]] = []
        for index, parent in enumerate(tree.parents):
            paths.append([index, *(paths[parent] if parent >= 0 else ())])
        width = max(map(len, paths))
        levels: list[list[int]] = [[] for _ in range(width)]
        for path in paths:
            levels[len(path) - 1].append(path[0])
        child, above = [-1] * classes, [-1] * (tree.groups[-1] + 1)
        for parent, group in zip(tree.parents, tree.groups, strict=True):
            above[group] = parent
            if parent >= 0:
                child[parent] = group
        self.classes, self.groups, self.levels = classes, len(above), [len(level) for level in levels]
        padded = [[*path, *[classes] * (width - len(path))] for path in paths]
        order = [index for level in levels for index in level]
        place = {index: number for level in levels for number, index in enumerate(level)}
        self.register_buffer("group", torch.tensor(tree.groups), persistent=False)  # (C,)
        #: A class and its ancestors, ``(C, depth)``; ``C`` stands for none.
        self.register_buffer("path", torch.tensor(padded), persistent=False)
        self.register_buffer("child", torch.tensor(child), persistent=False)  # (C,), the group below a class or -1
        self.register_buffer("above", torch.tensor(above), persistent=False)  # (G,), the class above a group or -1
        counts = torch.bincount(self.group)  # (G,)
        self.widest = int(counts.max())
        self.register_buffer("last", counts.cumsum(0) - 1, persistent=False)  # (G,), the last class of each group
        self.register_buffer("order", torch.tensor(order), persistent=False)  # (C,), the classes level by level
        # for each class in that order, where its parent stands among its own level
        parents = [place.get(tree.parents[index], 0) for index in order]
        self.register_buffer("parent_place", torch.tensor(parents), persistent=False)  # (C,)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Return the logarithm of each class's probability given its parent, ``(N, C)`` from ``(N, C)``."""
        index = self.group.expand_as(logits)
        largest = self._group_max(logits.detach())
        shifted = logits - largest.gather(1, index)
        sums = torch.zeros_like(largest).scatter_add(1, index, shifted.exp())
        return shifted - sums.log().gather(1, index)

    def _group_max(self, x: Tensor) -> Tensor:
        """Return the largest value of every group, ``(N, G)`` from ``(N, C)``.

        The scatter that does it at once cannot be exported. Groups are runs of classes: in each round of the other way
        a class learns the largest of twice as many before it.
        """
        if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            nothing = x.new_zeros(x.shape[0], self.groups)
            return nothing.scatter_reduce(1, self.group.expand_as(x), x, "amax", include_self=False)
        step = 1
        while step < self.widest:
            same = torch.cat((self.group[:step] < 0, self.group[step:] == self.group[:-step]))
            x = torch.where(same, torch.maximum(x, torch.cat((x[:, :step], x[:, :-step]), 1)), x)
            step *= 2
        return x[:, self.last]

    def absolute(self, conditional: Tensor) -> Tensor:
        """Turn probabilities given the parent, ``(N, C)``, into plain ones: times those of all ancestors."""
        sorted_ = conditional[:, self.order]
        parts: list[Tensor] = []
        start = 0
        for count in self.levels:
            part = sorted_[:, start : start + count]
            if parts:
                part = part * parts[-1][:, self.parent_place[start : start + count]]
            parts.append(part)
            start += count
        return torch.cat(parts, 1)[:, self.order.argsort()]

    def top(self, absolute: Tensor, thresh: float = TREE_THRESH) -> Tensor:
        """Go down from the root to the best subclass as long as it is sure enough.

        Args:
            absolute: Plain probabilities, ``(N, C)``.
            thresh: How sure. As in Darknet it is the product of the plain probabilities along the way that is compared.

        Returns:
            The class of each row, ``(N,)``.
        """
        rows, index = absolute.shape[0], self.group.expand_as(absolute)
        best = self._group_max(absolute)  # (N, G)
        number = torch.arange(self.classes, device=absolute.device)
        candidates = torch.where(absolute == best.gather(1, index), -number, -self.classes)
        chosen = -self._group_max(candidates)  # (N, G), the first of equals
        group = torch.zeros(rows, 1, dtype=torch.long, device=absolute.device)
        reached = absolute.new_ones(rows, 1)
        answer, done = chosen.gather(1, group), group > 0
        for _ in self.levels:
            reached = reached * best.gather(1, group)
            sure, candidate = reached > thresh, chosen.gather(1, group)
            stays = torch.where(group == 0, candidate, self.above[group])
            answer = torch.where(done, answer, torch.where(sure, candidate, stays))
            below = self.child[candidate]
            done = done | ~sure | (below < 0)
            group = torch.where(done, group, below)
        return answer.reshape(rows)

    def targets(self, labels: Tensor, place: Tensor, cells: int) -> Tensor:
        """Return which classes cells learn: those of a truth and their ancestors.

        Where several truths meet in a cell, the last one decides in each group that it asks.

        Args:
            labels: The class of each truth, ``(P,)``.
            place: Its cell, ``(P,)``.
            cells: Their number ``U``.

        Returns:
            ``(U, C)``, 1 or 0.
        """
        path = self.path[labels]  # (P, depth)
        truth, step = (path < self.classes).nonzero(as_tuple=True)
        node, cell = path[truth, step], place[truth]
        flat = cell * self.groups + self.group[node]
        last = torch.full((cells * self.groups,), -1, device=labels.device).scatter_reduce(0, flat, truth, "amax")
        decides = last[flat] == truth
        wanted = torch.zeros(cells, self.classes, device=labels.device)
        wanted[cell[decides], node[decides]] = 1
        return wanted

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropies of all groups that are asked, and Darknet's deltas.

        Args:
            logits: ``(U, C)``.
            targets: ``(U, C)`` from :meth:`targets`.

        Returns:
            The loss of each row, ``(U,)``, and minus its gradient, ``(U, C)``.
        """
        logs = self.log_softmax(logits)
        index = self.group.expand_as(logs)
        asked = torch.zeros(len(logs), self.groups, device=logs.device, dtype=targets.dtype)
        asked = asked.scatter_reduce(1, index, targets, "amax").gather(1, index)
        return -(logs * targets).sum(1), asked * (targets - logs.detach().exp())
