"""Folders of checkpoints belong to a piece of work and to the process that does it."""

import json
import os
import platform
import shutil
from pathlib import Path

from squeeze.core.errors import InputError
from squeeze.store import processes
from squeeze.store.writing import write_text

OWNER = "owner.json"


def prepare_checkpoints(folder: Path, key: str) -> Path:
    """Make sure that a folder of checkpoints belongs to this work; remove those of other work.

    Raises:
        InputError: Another process is writing into it.
    """
    owner = read_owner(folder)
    if owner and not left_behind(folder, str(owner.get("key"))):
        raise InputError("another process is training into it", where=str(folder))
    if owner and owner.get("key") != key:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def claim(folder: Path, key: str) -> None:
    """Make a folder of checkpoints this process's own.

    Raises:
        InputError: The place cannot be written.
    """
    owner = {"key": key, "host": platform.node(), "pid": os.getpid()}
    owner["started"] = processes.started(os.getpid())
    if read_owner(folder) != owner:
        write_text(folder / OWNER, json.dumps(owner))


def left_behind(folder: Path, key: str) -> bool:
    """Tell whether a folder holds checkpoints of this work, of a process that is gone."""
    owner = read_owner(folder)
    if owner.get("key") != key:
        return False
    if owner.get("host") != platform.node() or owner.get("pid") == os.getpid():
        return True
    pid, started = owner.get("pid"), owner.get("started")
    if not isinstance(pid, int) or not isinstance(started, int | float):
        return True
    return processes.gone(pid, started)


def read_owner(folder: Path) -> dict[str, object]:
    """Return whom a folder belongs to; empty where that is not recorded or damaged."""
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
