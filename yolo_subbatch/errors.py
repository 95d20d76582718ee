"""The errors that this package raises on purpose.

Every message reads ``where: what was found; what to do``, so that the command line can print it as it stands.
"""


class YoloSubbatchError(Exception):
    """Base of every error that is the user's to mend; the command line exits with status 2."""


class CfgError(YoloSubbatchError):
    """A Darknet ``.cfg`` cannot be read, or describes a network that cannot be built."""


class WeightsError(YoloSubbatchError):
    """A ``.weights`` file does not fit its network, or a checkpoint is not one."""


class DataError(YoloSubbatchError):
    """A data description, an image list, a label file or an image is missing or malformed."""


class LabelsError(DataError):
    """Label files hold lines that are none; ``faults`` has every one, as ``file:line: what was found; what to do``."""

    def __init__(self, text: str, faults: tuple[str, ...]) -> None:
        super().__init__(text)
        self.faults = faults


class ExportError(YoloSubbatchError):
    """A network cannot be exported, or the exported file does not compute what the network does."""


class ParityError(ExportError):
    """An exported file does not compute what the network does: nobody's input is at fault, and it is not kept."""


class SettingsError(YoloSubbatchError):
    """A key or a value given on the command line, in a form or in Python is not usable."""


class TrustError(SettingsError):
    """A file holds code, which runs only with ``trust=True``; ``found`` says what it is, ``advice`` what else helps."""

    def __init__(self, where: object, found: str, advice: str = "") -> None:
        cure = f"{advice}, or say" if advice else "if you know who made it, say"
        super().__init__(f"{where}: {found}; {cure} trust=True to let it run")
        self.where, self.found, self.advice = where, found, advice


class TrainingError(YoloSubbatchError):
    """A training cannot go on as it is: its numbers are no longer finite, or Ultralytics does not do what it must."""


class MachineError(YoloSubbatchError):
    """The machine lets the work down: a disk that is full or read-only, a process that the system has ended.

    Nobody's input is at fault, so the command line exits with status 1.
    """
