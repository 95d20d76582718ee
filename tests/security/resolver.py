"""Run a command where there is no network, with a resolver that answers every name and writes down what is asked.

``asked(command)`` starts this file as a script in a network namespace of its own (Linux; no rights are needed where
users may make namespaces). Nothing in it leads anywhere but to this machine's own loopback, and whatever library asks
for a name, Python's or one in C++, asks the resolver that listens there. It answers 127.0.0.1, so that a program which
goes on only where it finds a network shows what it would do next.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")
OWN_CHOICE = ("YOLO_OFFLINE", "YOLO_AUTOINSTALL", "YOLO_VERBOSE", "ORT_DISABLE_TELEMETRY")  # what is to be found out
ADDRESS = 1  # the kind of record of DNS that holds an address of four bytes


def is_possible() -> bool:
    """Tell whether this system lets this user have such a namespace."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    return subprocess.run([*UNSHARE, "mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"],
                          capture_output=True).returncode == 0  # fmt: skip


def asked(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, status: int = 0
) -> list[str]:
    """Run a command, which has to end with that status, and return every name that was looked up, in its order."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for name in (*OWN_CHOICE, "PYTEST_CURRENT_TEST"):
        clean.pop(name, None)
    home = folder / "home"  # Ultralytics keeps fonts and settings there
    home.mkdir(exist_ok=True)
    places = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_CACHE_HOME": home / "cache"}
    clean |= {
        "OMP_NUM_THREADS": "1",
        "QT_QPA_PLATFORM": "offscreen",
        **{name: str(each) for name, each in places.items()},
    }
    clean.pop("YOLO_CONFIG_DIR", None)
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "asked.json"
        inside = [*UNSHARE, sys.executable, __file__, str(result), *command]
        done = subprocess.run(
            inside, cwd=folder, env={**clean, **(environment or {})}, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == status, done.stdout + done.stderr
        names: list[str] = json.loads(result.read_text())
    return names


class Resolver(threading.Thread):
    """Answers 127.0.0.1 to whoever asks for an address, and keeps the names."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.names: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))

    def run(self) -> None:
        while True:
            question, who = self.socket.recvfrom(4096)
            labels, place = [], 12
            while question[place]:
                labels.append(question[place + 1 : place + 1 + question[place]].decode("latin-1"))
                place += 1 + question[place]
            (kind,) = struct.unpack("!H", question[place + 1 : place + 3])
            self.names.append(".".join(labels))
            found = kind == ADDRESS
            head = question[:2] + struct.pack("!5H", 0x8180, 1, int(found), 0, 0)
            answer = struct.pack("!3HIH4B", 0xC00C, ADDRESS, 1, 60, 4, 127, 0, 0, 1) if found else b""
            self.socket.sendto(head + question[12 : place + 5] + answer, who)


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def main(result: str, *command: str) -> int:
    raise_loopback()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        file.flush()
        subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)  # in this namespace alone
        resolver = Resolver()
        resolver.start()
        status = subprocess.run(command).returncode
    Path(result).write_text(json.dumps(resolver.names))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
