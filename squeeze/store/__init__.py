"""What lies on disk: atomic and durable writes, checksums, and a folder per experiment."""

from squeeze.store.owners import claim, left_behind, prepare_checkpoints
from squeeze.store.run_folder import LOG, RECIPE, STEP_FILE, UNFINISHED, RunFolder, key_of
from squeeze.store.writing import (
    new_file,
    new_folder,
    scratch,
    sweep,
    unusable,
    unwritable,
    write_text,
)

__all__ = [
    "LOG",
    "RECIPE",
    "STEP_FILE",
    "UNFINISHED",
    "RunFolder",
    "claim",
    "key_of",
    "left_behind",
    "new_file",
    "new_folder",
    "prepare_checkpoints",
    "scratch",
    "sweep",
    "unusable",
    "unwritable",
    "write_text",
]
