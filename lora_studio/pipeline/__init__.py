"""The one shared base: loading it, what differs between families, text conditioning, adapter slots, autoencoder.

`SharedBase` is held once per worker and owned by one thread. It knows no jobs, users or databases.
"""

from lora_studio.pipeline.base import SharedBase, load_base
from lora_studio.pipeline.calls import Blob, JobGenerator, LiveAdapter, ModelCall, NeedPreview, Report, Turn
from lora_studio.pipeline.conditioning import Conditioning, Segment, TextCondition
from lora_studio.pipeline.device import Precision, probe

__all__ = [
    "Blob",
    "Conditioning",
    "JobGenerator",
    "LiveAdapter",
    "ModelCall",
    "NeedPreview",
    "Precision",
    "Report",
    "Segment",
    "SharedBase",
    "TextCondition",
    "Turn",
    "load_base",
    "probe",
]
