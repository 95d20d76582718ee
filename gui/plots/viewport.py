"""Which iterations are in view: all of them, what the user zoomed to, or the newest ones. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log2

JUMPS = 64  # the right edge moves on by this part of the width at most, so that axes are not laid out for every update


@dataclass(frozen=True)
class Extent:
    """The iterations that there are to see: the first, the newest, and the last of the whole run, done or not."""

    first: float = 0.0
    newest: float = 1.0
    total: float = 1.0

    @property
    def end(self) -> float:
        """The right edge of a view of everything."""
        return max(self.total, self.newest, self.first + 1)


@dataclass
class Viewport:
    """The stretch of iterations in view.

    With ``follow`` its right edge keeps up with the newest iteration: everything so far is in view, or a stretch of
    the width that the user zoomed to. Without, the whole run is in view, or what the user zoomed to.
    """

    follow: bool = True
    zoom: tuple[float, float] | None = field(default=None)

    def edges(self, extent: Extent) -> tuple[float, float]:
        """Return the first and the last iteration in view."""
        if not self.follow:
            return self.zoom or (extent.first, extent.end)
        if self.zoom is None:
            return extent.first, _ahead(extent.newest, max(extent.newest - extent.first, 1.0))
        width = self.zoom[1] - self.zoom[0]
        right = _ahead(extent.newest, width)
        return max(extent.first, right - width), right

    def zoom_to(self, left: float, right: float, extent: Extent) -> None:
        """Show these iterations, as the user asked, and follow no longer; no more than everything."""
        self.follow = False
        everything = left <= extent.first and right >= extent.end
        self.zoom = None if everything else (max(left, extent.first), min(right, extent.end))
        if self.zoom is not None and self.zoom[0] >= self.zoom[1]:  # past either end of it
            self.zoom = None

    def set_follow(self, follow: bool, extent: Extent) -> None:
        """Keep up with the newest iteration from now on, or stay where it is."""
        if follow and self.zoom is not None and self.zoom[0] <= extent.first and self.zoom[1] >= extent.newest:
            self.zoom = None
        if self.follow and not follow and self.zoom is not None:
            self.zoom = self.edges(extent)
        self.follow = follow

    def show_everything(self) -> None:
        """Forget what the user zoomed to."""
        self.zoom = None


def _ahead(newest: float, width: float) -> float:
    """Return a right edge for the newest iteration that stays the same for some more of them."""
    jump = 2.0 ** max(0, ceil(log2(max(width, 1.0) / JUMPS)) - 1)
    return ceil(newest / jump) * jump
