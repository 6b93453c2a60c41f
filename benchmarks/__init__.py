"""Figures that the project claims, each measured by a script of its own; none of them is imported by the app.

Two sides in one run, interleaved, told as a ratio: `peer` (a picture by diffusers' own pipeline and by ours, with the
largest difference of a pixel) and `shared` (what a training costs the one who draws, and the other way round);
`memory_shared` tells memory in sizes of the base. Seconds on their own are those of one machine, which stands beside
them, and compare with nothing else: `library`, and the first page, the picture and the training of `report`. Shares of
pictures are counted by `pretrain.judge`: `effect`, `long_prompts`, `samplers`, and `pretrain evaluate` for the base
alone. `report` measures all but the last.
"""
