"""An adapter of another rank: each layer cut to its largest singular values; and a scale baked into the factors.

By a fixed rank or by what a rule of `ranks` asks of each layer; convolutions of more than one pixel may have a rank of
their own. A layer is never made larger than it is: rank 8 of 4 stays 4. A DoRA changes the base by a matrix of full
rank, whatever its direction's is. It does not know files.

Source: see `ranks` and `svd`.
"""

from __future__ import annotations

from collections.abc import Generator

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, LayerChange
from lora_studio.adapters.workbench.combine import Made, scaled
from lora_studio.adapters.workbench.plain import WeightOf, no_weights, plain
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.ranks import Target, retained
from lora_studio.adapters.workbench.svd import decompose


def resize(adapter: CanonicalAdapter, target: Target, weight_of: WeightOf = no_weights) -> Generator[Done, None, Made]:
    """Every layer cut to what `target` asks; dense differences become factors, those of norms and biases stay.

    Raises:
        InvalidInput: a layer's change depends on the base's weights and there is no base.
    """
    layers: dict[str, LayerChange] = {}
    kept: dict[str, float] = {}
    for number, (layer, given) in enumerate(sorted(adapter.layers.items()), 1):
        change = plain(layer, given, weight_of)
        rankless = len(change.shape) == 1 if isinstance(change, Dense) else change.rank == 0
        if rankless:
            layers[layer], kept[layer] = change, 1.0
        else:
            svd = decompose(change)
            rank = target.keep(svd.s, spatial=svd.spatial)
            layers[layer], kept[layer] = svd.cut(rank, change.delta_bias), retained(svd.s, rank)
        yield Done(number, len(adapter.layers))
    return Made(layers, kept)


def bake(
    adapter: CanonicalAdapter, scale: float, text_encoder_scale: float | None = None, weight_of: WeightOf = no_weights
) -> Generator[Done, None, Made]:
    """Every ΔW times `scale`, the text encoders' times `text_encoder_scale` where it is given: weight 1 is then what
    that weight was. A scale of 1 leaves a layer as it is, DoRA and the like too; by another they become whole
    differences. There is a turn between two layers.

    Raises:
        InvalidInput: a layer's change depends on the base's weights and there is no base.
    """
    layers: dict[str, LayerChange] = {}
    for number, (layer, change) in enumerate(adapter.layers.items(), 1):
        own = scale if text_encoder_scale is None or not layer.startswith("text") else text_encoder_scale
        layers[layer] = change if own == 1.0 else scaled(plain(layer, change, weight_of), own)
        yield Done(number, len(adapter.layers))
    return Made(layers, dict.fromkeys(layers, 1.0))
