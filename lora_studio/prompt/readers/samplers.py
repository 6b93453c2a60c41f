"""What other programs say of sampler and spacing of steps, as ours.

Sources: A1111's `modules/sd_samplers_kdiffusion.py` and `sd_schedulers.py` (v1.10.1), ComfyUI's `comfy/samplers.py`,
InvokeAI's `invokeai/app/invocations/constants.py` (scheduler names). What A1111 calls Automatic is Karras for DPM++ 2M
and even steps for Euler and DDIM.
"""

from __future__ import annotations

from lora_studio.prompt.readers.reading import Draft
from lora_studio.types.generate import known_sampler, plain

_EVEN = {"", "automatic", "uniform", "normal", "ddim", "ddim uniform", "simple", "use same scheduler"}


def take_sampler(draft: Draft, sampler: object, schedule: object = "", *, automatic_is_karras: bool = False) -> None:
    """Put our name of a sampler into the draft, and remark on what is not here.

    Args:
        draft: takes `sampler` and remarks.
        sampler: its name in any program's words, perhaps with `Karras` behind it; nothing happens where it is no text.
        schedule: the spacing of the steps.
        automatic_is_karras: the text says Automatic, which A1111 from 1.9 on takes as Karras for DPM++ 2M.
    """
    if not isinstance(sampler, str) or not sampler.strip():
        return
    spacing = schedule.strip().casefold().replace("_", " ") if isinstance(schedule, str) else ""
    found, key = known_sampler(sampler), plain(sampler)
    for ending in ("karras", "k"):
        if found is None and spacing in _EVEN and (found := known_sampler(key.removesuffix(ending))):
            spacing = "karras"
    if found is None:
        draft.remark("sampler_other", given=sampler)
        return
    if found == "dpmpp_2m" and (spacing == "karras" or (spacing == "automatic" and automatic_is_karras)):
        found = "dpmpp_2m_karras"
    elif spacing not in _EVEN:
        draft.remark("schedule_other", given=str(schedule or spacing))
    draft.settings["sampler"] = found
