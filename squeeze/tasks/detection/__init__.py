"""Object detection: boxes with a class, COCO's average precision."""

from squeeze.core.tasks import Metric, TaskSpec

SPEC = TaskSpec(
    name="detection",
    labels="boxes",
    metrics=(Metric("map", "mAP"), Metric("ap50", "AP50")),
    decodes=True,
)
