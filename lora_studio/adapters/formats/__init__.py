"""Every LoRA format, read: a file to its modules, and modules to one canonical adapter.

    parsed = formats.parse(path)                     what stands in the file; needs no base
    parsed.format, parsed.family, parsed.modules     "kohya LoHa", "sdxl", name -> ModuleParts
    adapter = formats.canonical(parsed, layers)      layers of a base: `SharedBase.layers`
    adapter = formats.canonical(parsed)              of a known family without a base (sd1, sd2, sdxl): the layers are
                                                     `families.known_layers(parsed.family)`; of any other the file's own
                                                     names and shapes are taken
    binding.delta(change, weight)                    ΔW of one layer; `weight` only where `binding.needs_weight(change)`

`parse` refuses what cannot be read (damage, code, other kinds of files) in one sentence. What fits a base is
`door.admit`'s business; it also measures and warns. The layers of a canonical adapter are called
`unet.<path>`, `text_encoder.<path>`, `text_encoder_2.<path>`, and `transformer.<path>` of newer families.

A key goes two steps: *dialect* (`parts`, `dialects`, `ldm`: tensor name -> module, part -> component and path) and
*algebra* (`algebra`: parts of a module -> its change). Neither knows the other.
"""

from __future__ import annotations

from lora_studio.adapters.formats.dialects import LayerIndex, kohya_name
from lora_studio.adapters.formats.parsed import Ignored, ModuleParts, ParsedFile
from lora_studio.adapters.formats.reading import canonical, parse, parsing, resolve

__all__ = [
    "Ignored",
    "LayerIndex",
    "ModuleParts",
    "ParsedFile",
    "canonical",
    "kohya_name",
    "parse",
    "parsing",
    "resolve",
]
