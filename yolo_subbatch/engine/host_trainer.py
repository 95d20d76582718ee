"""The types of Ultralytics' trainer, as far as this package uses it: Ultralytics ships none that can be checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.models.yolo import detect

if TYPE_CHECKING:

    class HostTrainer:
        """The attributes and methods of Ultralytics' ``BaseTrainer`` that this package uses."""

        amp: Any
        args: Any
        batch_size: int
        best: Path
        best_fitness: float | None
        callbacks: dict[str, list[Callable[..., None]]]
        csv: Path
        data: dict[str, Any]
        ddp: bool
        device: torch.device
        ema: Any
        epoch: int
        epochs: int
        fitness: float | None
        last: Path
        lf: Callable[[int], float]
        loss: torch.Tensor
        loss_items: Any
        loss_names: tuple[str, ...]
        metrics: dict[str, Any] | None
        model: Any
        optimizer: torch.optim.Optimizer
        resume: Any
        save_dir: Path
        scaler: Any
        scheduler: Any
        start_epoch: int
        stop: bool
        stopper: Any
        stride: int
        test_loader: Any
        tloss: Any
        train_time_start: float
        validator: Any
        wdir: Path
        world_size: int

        def __init__(self, cfg: Any, overrides: Any, _callbacks: Any) -> None: ...
        def _build_train_pipeline(self) -> None: ...
        def _clear_memory(self) -> None: ...
        def _do_train(self) -> None: ...
        def _model_train(self) -> None: ...
        def _setup_ddp(self) -> None: ...
        def _setup_scheduler(self) -> None: ...
        def _setup_train(self) -> None: ...
        def build_optimizer(self, model: Any, **keywords: Any) -> torch.optim.Optimizer: ...
        def get_dataloader(self, dataset_path: str, batch_size: int, rank: int, mode: str) -> Any: ...
        def get_dataset(self) -> dict[str, Any]: ...
        def get_model(self, cfg: Any, weights: Any, verbose: bool) -> Any: ...
        def optimizer_step(self) -> None: ...
        def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None: ...
        def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]: ...
        def run_callbacks(self, event: str) -> None: ...
        def save_model(self) -> Any: ...
        def train(self) -> Any: ...

    class DetectionTrainer(HostTrainer):
        """Ultralytics' trainer of boxes."""

else:
    HostTrainer = object
    DetectionTrainer = detect.DetectionTrainer
