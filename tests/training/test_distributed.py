"""Two processes that train one model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")


Found = list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What either process found, by case."""
    path = tmp_path_factory.mktemp("two") / "found"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(SCRIPT), str(path)], check=True, env=environment, timeout=240
    )
    return [json.loads(path.with_suffix(f".{number}").read_text()) for number in range(2)]


def test_two_processes_train_what_one_would(both: Found) -> None:
    first, second = both
    assert first["together"]["plain"] == second["together"]["plain"]
    alone, together = first["alone"]["plain"], first["together"]["plain"]
    assert np.allclose(alone["weights"], together["weights"], atol=1e-5)
    assert np.allclose(alone["losses"], together["losses"], atol=1e-5)
    assert np.allclose(alone["top1"], together["top1"], atol=0.005)


def test_statistics_of_batchnorms_are_shared(both: Found) -> None:
    first, second = both
    assert first["together"]["batchnorm"] == second["together"]["batchnorm"]
    alone, together = first["alone"]["batchnorm"], first["together"]["batchnorm"]
    assert together["top1"][-1] == pytest.approx(alone["top1"][-1], abs=0.05)


def test_a_loss_that_is_nan_in_one_process_stops_both(both: Found) -> None:
    for found in both:
        error = found["together"]["nan"]["error"]
        assert error.startswith("it: the loss became nan in epoch 1, step 5")


def test_batches_that_cannot_be_shared_are_reported(both: Found) -> None:
    for found in both:
        assert (
            "it, batch_size: a batch of 63 images cannot be shared evenly by 2 processes"
            in (found["together"]["odd"]["error"])
        )


def test_the_first_process_writes_and_both_go_on(both: Found) -> None:
    first, second = both
    assert "stands for a kill" in first["together"]["stopped"]["error"]
    assert first["together"]["resumed"] == first["together"]["plain"]
    assert second["together"]["resumed"] == second["together"]["plain"]
