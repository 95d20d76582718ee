"""The whole batch's gradient from Ultralytics' own losses, whatever the number of sub-batches.

Ultralytics divides every component of a loss by a number of the forward pass (the sum of the target scores, the count
of assigned anchors, the count of visible keypoints) and multiplies by the images. Such means do not add up. Here each
is turned back into the sum that it was, by its own divisor, and divided by that of the whole batch: a component of a
sub-batch with n of the batch's B images, of sum s and divisor d, comes as ``s / d * n`` and counts as ``s / D * B``.

Where one divisor serves the whole loss, D may be learnt on the way and applied to the gradient at the end. Where there
are several, they must be known first, so the batch is passed twice, the first time without gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from ultralytics.nn.tasks import YOLOEModel
from ultralytics.utils import loss as losses

from yolo_subbatch.engine import host
from yolo_subbatch.errors import SettingsError

#: What a criterion returns: components times images, ``(components,)``, and for the log the components by name.
Loss = tuple[Tensor, host.Items]
#: What is summed over the images of a pass: four divisors and the keypoints' negative log-likelihood (see
#: :meth:`Branch.loss`). No divisor counts as less than one: Ultralytics cuts the target scores off there, and a count
#: of zero belongs to a component that is zero itself.
SCORES, POSITIVES, KEYPOINTS, IMAGES, LIKELIHOOD = SUMS = range(5)
#: The divisor of every component, in the order of the loss vector, by the name of Ultralytics' class: not every release
#: has each of them.
DIVISORS: dict[str, tuple[int, ...]] = {
    "v8DetectionLoss": (SCORES,) * 3,  # box, class, dfl or l1
    "v8OBBLoss": (SCORES,) * 4,  # and angle
    "v8SegmentationLoss": (SCORES, POSITIVES, SCORES, SCORES, IMAGES),  # box, mask, class, dfl, semantic
    "SegmentLoss26": (SCORES, POSITIVES, SCORES, SCORES, IMAGES),
    "v8PoseLoss": (SCORES, POSITIVES, POSITIVES, SCORES, SCORES),  # box, keypoints, visibility, class, dfl
    "PoseLoss26": (SCORES, POSITIVES, POSITIVES, SCORES, SCORES, KEYPOINTS),  # and likelihood
}
#: Why a loss cannot be put together from parts, or need not be.
REFUSED = {
    "NoneType": "a Darknet network's loss is a sum over images, which is exact already",
    "v8ClassificationLoss": "the classification loss is a mean over images, which is exact already",
    "RTDETRDetectionLoss": "RT-DETR makes its denoising queries after the fullest image of a forward pass",
    "SemanticSegmentationLoss": "the Dice loss is a ratio of sums over all pixels of a forward pass",
    "DepthLoss26": "the depth loss is the root of a mean over all pixels of a forward pass",
}


class ExactNorm:
    """Make sub-batches of an Ultralytics model add up to the loss and the gradient of the whole batch.

    It acts between :meth:`begin` and :meth:`end` (or the next ``begin``), and only on passes with gradients or inside
    :meth:`measuring`: a validation sees Ultralytics' own loss. Nothing here waits for the device.

    A window of one pass: ``begin()``, the training passes, then every gradient and the summed loss items times
    ``gradient_factor(totals, images)``. A window of two: ``begin()``, ``with measuring():`` a pass over each sub-batch,
    ``use(totals, images)``, the training passes; gradients and items then add up as they are. With several processes,
    ``totals`` and ``images`` are summed over them in between.

    Args:
        model: An Ultralytics model in its final form, without wrappers. Its criterion is built if it has none, and
            replaced by a callable that passes everything on; a copy of the model gets the plain criterion back.

    Attributes:
        two_pass: Whether a window needs the first pass without gradients.
        totals: Sums over the sub-batches of the window so far, five for every criterion, ``(k,)``, float32.

    Raises:
        SettingsError: If the loss of the model is not one of those whose divisors are known.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.totals = torch.empty(0)
        self._open = self._measuring = self._ready = False
        self._install()

    def _install(self) -> None:
        """Stand in front of the model's criterion."""
        self._criterion: Callable[..., Loss] = known_criterion(self.model)
        self._branches = [Branch(each) for each in branches_of(self._criterion)]
        self.two_pass = len(self._branches) > 1 or any(set(each.divisors) != {SCORES} for each in self._branches)
        self._stand_in = self.model.criterion = StandIn(self._criterion, self)

    def begin(self) -> None:
        """Open a window: forget all sums."""
        if self.model.criterion is not self._stand_in:  # Ultralytics makes a new one when it resumes a run
            self._install()
        self.totals = torch.zeros(len(self._branches) * len(SUMS), device=next(self.model.parameters()).device)
        self._open, self._ready = True, not self.two_pass

    def end(self) -> None:
        """Leave all passes alone until the next :meth:`begin`."""
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether a window is open."""
        return self._open

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Collect sums from the passes inside, without gradients; each sub-batch of the window once.

        Batch normalisation takes its statistics from the sub-batch, as it will in the training pass, but leaves its
        running averages alone, which would otherwise move twice.
        """
        if not self._open:
            raise RuntimeError("measuring() comes after begin()")
        layers = [each for each in self.model.modules() if isinstance(each, _BatchNorm)]
        moving = [each for each in layers if each.training and each.track_running_stats]
        for each in moving:
            each.track_running_stats = False
        self._measuring = True
        try:
            with torch.no_grad():
                yield
        finally:
            self._measuring = False
            for each in moving:
                each.track_running_stats = True

    def use(self, totals: Tensor, images: int) -> None:
        """Let every training pass from now on give its share of the whole batch's loss.

        Args:
            totals: Sums over all sub-batches of the window, of every process, ``(k,)``.
            images: Images of the window, of every process.
        """
        windows = totals.to(self.totals).view(-1, len(SUMS))
        for branch, window in zip(self._branches, windows.unbind(), strict=True):
            branch.window, branch.batch_images = window, images
        self._ready = True

    def gradient_factor(self, totals: Tensor, images: int) -> Tensor | float:
        """Return what the accumulated gradient and the summed loss items must be multiplied by at the update.

        The arguments are those of :meth:`use`.
        """
        return 1.0 if self.two_pass else images / totals[SCORES].clamp(min=1)

    def loss(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """Compute the criterion, with every component weighted or measured in a pass of the window."""
        if not (self._open and (self._measuring or torch.is_grad_enabled())):
            return self._criterion(preds, batch)
        if not (self._ready or self._measuring):
            raise RuntimeError("exact_norm: this loss needs measuring() and use() before the training passes")
        for each in self._branches:
            each.plain = self._measuring
            # Both criteria of an end-to-end loss are weighted inside it, by weights that change with the epoch.
            each.criterion.loss = each.loss
        try:
            found = self._criterion(preds, batch)
        finally:
            for each in self._branches:
                del each.criterion.loss
        if self._measuring or not self.two_pass:
            # Not in place: whoever holds the former totals keeps them.
            self.totals = self.totals + torch.cat([each.sums for each in self._branches])
        return found


class StandIn:
    """What a model has for a criterion; copied or pickled, as for the average of the weights, it is the real one."""

    def __init__(self, criterion: Any, norm: ExactNorm) -> None:
        self.__dict__.update(criterion=criterion, norm=norm)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.criterion, name, value)  # such as the epochs that it has counted, when a run goes on

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Loss:
        """Compute the loss of a pass."""
        return self.norm.loss(preds, batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["criterion"], name)

    def __reduce__(self) -> tuple[Any, ...]:
        return copy, (self.criterion,)


class Branch:
    """One criterion; an end-to-end model has two, with assignments and so divisors of their own.

    Attributes:
        sums: Sums of the last pass, ``(5,)``.
        window: Sums of the whole batch, ``(5,)``; None where one pass is enough.
        batch_images: Images of the whole batch, where ``window`` is known.
        plain: Whether to leave the loss as it is.
    """

    def __init__(self, criterion: Any) -> None:
        self.criterion = criterion
        self.divisors = DIVISORS[type(criterion).__name__]
        self.window: Tensor | None = None
        self.batch_images = 0
        self.plain = False
        self.sums = torch.zeros(len(SUMS))

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Loss:
        """Compute one sub-batch's loss, weighted component by component.

        Two things do not follow from the divisors. Ultralytics cuts off the mean log-likelihood of the keypoints at
        zero, so its sum over the batch decides whether it counts. And it leaves out the semantic component, which all
        pixels have, when no anchor of the pass is assigned.
        """
        criterion, images = self.criterion, len(preds["boxes"])
        with (
            recorded(criterion.assigner) as assigned,
            recorded(getattr(criterion, "rle_loss", None)) as likelihoods,
            recorded(getattr(criterion, "bcedice_loss", None)) as semantics,
        ):
            # By the class: the instance's own `loss` is this method at the moment.
            loss, items = type(criterion).loss(criterion, preds, batch)
        _, _, scores, positives, _ = assigned[0][1]
        self.sums = sums_of(scores, positives, likelihoods, images)
        if self.plain:
            return loss, items
        parts = list(loss.unbind())
        if self.window is not None and likelihoods:
            counts = self.window[LIKELIHOOD] >= 0
            parts[-1] = (likelihoods[0][1] * counts * (criterion.hyp.rle * images)).to(loss)
        if self.window is not None and not semantics and isinstance(preds.get("proto"), tuple):
            counts = self.window[POSITIVES] > 0
            parts[-1] = (semantic_loss(criterion, preds, batch) * counts * (criterion.hyp.box * images)).to(loss)
        loss = torch.stack(parts) * self.factors(len(parts))
        return loss, host.with_values(items, loss.detach() / images)

    def factors(self, components: int) -> Tensor:
        """Return what each component of the last pass must be multiplied by, ``(components,)``."""
        factors = self.sums.clamp(min=1) / self.sums[IMAGES]
        if self.window is not None:
            factors = factors * self.batch_images / self.window.clamp(min=1)
        return torch.stack([factors[each] for each in self.divisors[:components]])


def sums_of(scores: Tensor, positives: Tensor, likelihoods: list[tuple[Any, Any]], images: int) -> Tensor:
    """Return the sums of one pass, ``(5,)``, float32, without waiting for the device.

    Args:
        scores: Target scores, ``(images, anchors, classes)``.
        positives: Which anchors are assigned, ``(images, anchors)``, bool.
        likelihoods: The call of the keypoints' likelihood, if any; its first argument has a row for each keypoint.
        images: Images of the pass.
    """
    total = scores.sum().float()
    keypoints = sum(len(arguments[0]) for arguments, _ in likelihoods)
    likelihood = sum(result.detach().float() * len(arguments[0]) for arguments, result in likelihoods)
    zero = torch.zeros_like(total)
    return torch.stack([total, positives.sum().float(), zero + keypoints, zero + images, zero + likelihood])


def semantic_loss(criterion: Any, preds: dict[str, Any], batch: dict[str, Any]) -> Tensor:
    """Return the semantic component of a segmentation loss before its gain, as a mean over images."""
    logits: Tensor = preds["proto"][1]  # (images, classes, height, width)
    masks = batch["masks"].to(logits.device).float()
    if criterion.overlap:
        covered = masks != 0  # (images, height, width)
    else:  # a mask for each object
        owners = batch["batch_idx"].view(-1).long().to(logits.device)
        covered = masks.new_zeros(len(logits), *masks.shape[-2:]).index_add_(0, owners, masks) != 0
    classes = batch["sem_masks"].to(logits.device).long().unsqueeze(1)
    targets = torch.zeros(len(logits), criterion.nc, *classes.shape[2:], device=logits.device)
    targets.scatter_(1, classes, covered.unsqueeze(1).float())
    return criterion.bcedice_loss(logits, targets)


@contextmanager
def recorded(module: nn.Module | None) -> Iterator[list[tuple[Any, Any]]]:
    """Record the arguments and the result of every call of a module, which may be missing."""
    calls: list[tuple[Any, Any]] = []
    with ExitStack() as stack:
        if module is not None:
            handle = module.register_forward_hook(lambda _, arguments, result: calls.append((arguments, result)))
            stack.callback(handle.remove)  # nothing stays behind for a copy of the model to carry along
        yield calls


def known_criterion(model: Any) -> Any:
    """Return the model's own criterion, or the one that it would make, if its divisors are known."""
    if hasattr(model, "student_model"):
        reason = "the loss of a distillation has a divisor of its own"
    elif isinstance(model, YOLOEModel):
        reason = "YOLOE chooses its loss by the prompts of a batch"
    else:
        criterion = getattr(model, "criterion", None)
        criterion = model.init_criterion() if criterion is None else criterion
        criterion = criterion.criterion if isinstance(criterion, StandIn) else criterion
        unknown = [type(each).__name__ for each in branches_of(criterion) if not is_known(each)]
        if not unknown:
            return criterion
        reason = REFUSED.get(unknown[0], f"what {unknown[0]} divides by is not known")
    raise SettingsError(f"exact_norm=True: {reason}; leave it out")


def is_known(criterion: Any) -> bool:
    """Tell whether it is known what a criterion divides by: that of Ultralytics' own class, not of one made from it."""
    name = type(criterion).__name__
    return name in DIVISORS and type(criterion) is getattr(losses, name, None)


def branches_of(criterion: Any) -> tuple[Any, ...]:
    """Return the criteria that a criterion consists of."""
    return (criterion.one2many, criterion.one2one) if type(criterion) is losses.E2ELoss else (criterion,)
