"""OFT and BOFT: D = rescale · R·W with R orthogonal, in blocks along the outputs.

R = (I + Q)(I - Q)⁻¹ of each block, Q = blocks - blocksᵀ (Cayley), its norm held below alpha · outputs where alpha is
not 0. LyCORIS multiplies each block of W by the transpose of R. `oft_diag` holds R itself. BOFT is a product of such
rotations between shuffles of the outputs; the product is kept as one block.

peft's `oft_R` holds the upper triangle of Q and turns the inputs, W·Rᵀ. Its R is by default a sum of a few powers of Q
(Cayley-Neumann: I + 2Q + 2Q² + ... + Qⁿ⁻¹), whose number of terms the config tells (`oft_terms`; 0 is the exact
inverse, which peft writes with the sign of Q exchanged).

Sources: Qiu et al. 2023, OFT, arXiv 2306.07280; Liu et al. 2024, BOFT, arXiv 2311.06243; KohakuBlueleaf/LyCORIS
lycoris/modules/diag_oft.py and boft.py; huggingface/peft tuners/oft/layer.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerChange, Rotation
from lora_studio.adapters.formats.algebra.common import MisfitError, PartsError, apart

PARTS = ("oft_blocks", "oft_diag", "oft_r", "oft_terms", "rescale", "alpha", "diff_b")
PEFT_TERMS = 5
"""peft's default of `num_cayley_neumann_terms`, taken where no config stands beside the file."""


def claims(parts: Collection[str]) -> bool:
    """True when there are rotations."""
    return any(part in parts for part in ("oft_blocks", "oft_diag", "oft_r"))


def kind(parts: Collection[str]) -> str:
    """oft; boft files have blocks of four dimensions, which names do not tell."""
    return "oft"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """The rotation's difference from the identity."""
    bias = tensors.get("diff_b")
    delta_bias = None if bias is None else bias.float().flatten()
    if "oft_r" in tensors:
        terms = int(tensors["oft_terms"]) if "oft_terms" in tensors else PEFT_TERMS
        return Rotation(_from_triangles(tensors["oft_r"].float(), terms, shape), "in", delta_bias)
    outputs = shape[0]
    if "oft_diag" in tensors:
        turned = tensors["oft_diag"].float()
    else:
        turned = cayley(tensors["oft_blocks"].float(), _constraint(tensors) * outputs)
    if turned.dim() not in (3, 4) or turned.shape[-1] != turned.shape[-2]:
        raise apart(rotations=turned)
    if turned.shape[-1] * turned.shape[-3] != outputs:
        raise MisfitError(f"turns {turned.shape[-1] * turned.shape[-3]} outputs where the base has {outputs}")
    blocks = turned.transpose(-1, -2) if turned.dim() == 3 else butterfly(turned)[None]
    if "rescale" in tensors:
        rescale = tensors["rescale"].float().flatten()
        if rescale.numel() != outputs:
            raise MisfitError(f"rescales {rescale.numel()} outputs where the base has {outputs}")
        blocks = blocks * rescale.reshape(blocks.shape[0], -1, 1)
    return Rotation(blocks - torch.eye(blocks.shape[-1]), "out", delta_bias)


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """One side alone is not the shape."""
    return ()


def cayley(blocks: Tensor, constraint: float = 0.0) -> Tensor:
    """R = (I + Q)(I - Q)⁻¹ of blocks (..., n, n), Q = blocks - blocksᵀ shortened to a norm `constraint` above 0."""
    if blocks.dim() < 3 or blocks.shape[-1] != blocks.shape[-2]:
        raise apart(rotations=blocks)
    q = blocks - blocks.transpose(-1, -2)
    if constraint > 0:
        norm = q.norm() + 1e-8
        q = q * (constraint / norm) if norm > constraint else q
    eye = torch.eye(blocks.shape[-1])
    turned: Tensor = torch.linalg.solve(eye - q, eye + q, left=False)
    return turned


def butterfly(stages: Tensor) -> Tensor:
    """The product of BOFT's stages (m, count, size, size) as one matrix (outputs, outputs)."""
    count, size = stages.shape[1], stages.shape[2]
    turned = torch.eye(count * size)
    for number, blocks in enumerate(stages):
        stride = 2**number * (size // 2)
        if stride == 0 or turned.shape[0] % (2 * stride):
            raise PartsError("parts_stages", count=len(stages), outputs=turned.shape[0])
        side = turned.shape[0]
        parted = turned.reshape(-1, 2, stride, side).transpose(1, 2).reshape(count, size, side)
        mixed = torch.einsum("bij,bjn->bin", blocks, parted)
        turned = mixed.reshape(-1, stride, 2, side).transpose(1, 2).reshape(side, side)
    return turned


def _constraint(tensors: Mapping[str, Tensor]) -> float:
    alpha = tensors.get("alpha")
    if alpha is None:
        return 0.0
    if alpha.numel() != 1 or not float(alpha) >= 0:
        raise PartsError("parts_alpha")
    return float(alpha)


def _from_triangles(triangles: Tensor, terms: int, shape: tuple[int, ...]) -> Tensor:
    """peft's rows of n(n - 1)/2 numbers as blocks of Rᵀ - I along the inputs of a linear layer."""
    if triangles.dim() != 2:
        raise apart(rotations=triangles)
    count, numbers = triangles.shape
    size = int((1 + (1 + 8 * numbers) ** 0.5) / 2)
    if size * (size - 1) // 2 != numbers or len(shape) != 2:
        raise MisfitError(f"has rotations of shape {tuple(triangles.shape)} where the base has {tuple(shape)}")
    if shape[1] % size or count not in (1, shape[1] // size):
        raise MisfitError(f"turns {count * size} inputs where the base has {shape[1]}")
    half = torch.zeros(count, size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    half[:, rows, columns] = triangles
    turned = _series(half - half.transpose(-1, -2), terms) if terms else cayley(half.transpose(-1, -2))
    blocks = turned.transpose(-1, -2) - torch.eye(size)
    return blocks if count == shape[1] // size else blocks.expand(shape[1] // size, size, size).contiguous()


def _series(q: Tensor, terms: int) -> Tensor:
    """I + 2Q + 2Q² + ... + Qⁿ⁻¹ with n = `terms`, the last power once."""
    total = torch.eye(q.shape[-1]).expand_as(q).clone()
    power = torch.eye(q.shape[-1]).expand_as(q)
    for number in range(1, terms):
        power = power @ q
        last = number == terms - 1 and terms > 2
        total = total + (power if last else 2 * power)
    return total
