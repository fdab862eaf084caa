"""Image classification: one class per image, top-1 and top-5."""

from squeeze.core.tasks import Metric, TaskSpec

SPEC = TaskSpec(
    name="classification",
    labels="classes",
    metrics=(Metric("top1", "top-1"), Metric("top5", "top-5")),
)
