"""What a Darknet network can be asked besides training, in the words of Ultralytics' models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.engine.model import Model
from ultralytics.models.yolo.model import YOLO

from yolo_subbatch.engine.describe_data import host_data, missing_for
from yolo_subbatch.engine.stock import check_format
from yolo_subbatch.engine.tuning import tune_darknet
from yolo_subbatch.errors import ExportError, YoloSubbatchError
from yolo_subbatch.lazy import load
from yolo_subbatch.run.progress import COLOUR

LONGEST_REASON = 200  # letters


def _first_line(error: Exception) -> str:
    """Return what an error of another package says, on one line and without its colours."""
    lines = (COLOUR.sub("", line).strip() for line in str(error).splitlines())
    found = next((line for line in lines if line), type(error).__name__)
    return found if len(found) <= LONGEST_REASON else f"{found[:LONGEST_REASON]}..."


class Doors(Model):
    """Ultralytics' methods that need something else, or something more, for a Darknet network."""

    model: Any
    predictor: Any
    _weights_file: str | Path | None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds locks and threads, and is made again where it is needed."""
        return {**self.__dict__, "predictor": None, "trainer": None}

    def predict(self, source: Any = None, stream: bool = False, predictor: Any = None, **keywords: Any) -> Any:
        """Find objects; ``letterbox`` says how images are fitted to the network."""
        if "letterbox" in keywords or getattr(self.predictor, "fit", "ultralytics") != "ultralytics":
            self.predictor = None  # Ultralytics would use the one of the call before, and refuse the key
        return super().predict(source, stream, predictor, **keywords)

    def export(self, **keywords: Any) -> str:
        """Write an ONNX file and return its path; keys as on the command line.

        Another ``format`` is written by Ultralytics, with its keys, and not compared with the network.

        Raises:
            YoloSubbatchError: If it cannot be written, also by Ultralytics, or does not compute what the network does.
        """
        kind = str(keywords.get("format") or "onnx").lower()
        if kind != "onnx":
            check_format(kind)
            try:
                return str(super().export(**keywords))
            except YoloSubbatchError:
                raise
            except Exception as error:  # whatever its many exporters, and the packages that they call, may raise
                raise ExportError(
                    f"format={kind}: Ultralytics cannot write it here ({_first_line(error)}); "
                    "mend that, or leave format out for an ONNX file"
                ) from error
        source = Path(self.ckpt_path or self._weights_file or Path(self.model_name or "model").name)
        path: str = load("export.command:export_keywords")(self.model, source, keywords)
        return path

    def benchmark(self, data: Any = None, format: str = "", verbose: Any = False, **keywords: Any) -> Any:
        """Measure the formats that Ultralytics exports; ``data`` is a Darknet ``.data`` too."""
        with host_data(data, "val", missing_for(None, data, self.model.yaml["flavour"])) as path:
            return YOLO(self).benchmark(data=path, format=format, verbose=verbose, **keywords)

    def tune(self, use_ray: bool = False, iterations: int = 300, *arguments: Any, **keywords: Any) -> Any:
        """Search for hyperparameters as Ultralytics does; our keys are those of every training.

        Without ``space``, learning rate, momentum and decay are tried.

        Raises:
            SettingsError: If something is to be tried that its tuner cannot vary.
        """
        return tune_darknet(self, use_ray, iterations, *arguments, **keywords)
