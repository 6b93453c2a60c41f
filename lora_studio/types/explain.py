"""How texts are to be read when somebody asks what was understood: plain values, as all that crosses the boundary.

It does not know the prompt language (`lora_studio.prompt`).
"""

from __future__ import annotations

from dataclasses import dataclass

from lora_studio.types.fields import check, spec
from lora_studio.types.library import LOCAL
from lora_studio.types.mix import AdapterWeight


@dataclass(frozen=True)
class ExplainOptions:
    """What decides the reading beside the texts.

    Attributes:
        owner: whose library, embeddings and styles are searched for names.
        steps: denoising steps, in which schedules are counted.
        styles: names of the styles that are put around the texts, in order.
        emphasis: name of the mode of emphasis; "comfy" also reads brackets as ComfyUI does.
        old_scheduling: count schedules as A1111 did before 1.6.
        backtrack: how many tokens back a comma may stand at which a full chunk is cut.
        adapters: those in the mix already; their weights win over those of tags.
    """

    owner: str = LOCAL
    steps: int = spec(20, doc="Denoising steps, in which schedules are counted.", minimum=1, maximum=1000)
    styles: tuple[str, ...] = ()
    emphasis: str = "original"
    old_scheduling: bool = False
    backtrack: int = spec(
        20, doc="How many tokens back a comma may stand at which a full chunk is cut.", minimum=0, maximum=74
    )
    adapters: tuple[AdapterWeight, ...] = ()

    def __post_init__(self) -> None:
        check(self)
