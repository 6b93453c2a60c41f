"""ΔW of a layer as its singular value decomposition, from rank factors without ever making ΔW.

With B = Q_B R_B and Aᵀ = Q_A R_A the product B·A is Q_B (R_B R_Aᵀ) Q_Aᵀ, whose middle is at most rank x rank: its small
decomposition, turned by Q_B and Q_A, is that of ΔW. A dense difference is decomposed as it is. A convolution's ΔW is
the matrix (out, in·kh·kw) of its kernel, as LoRA's own factors see it; a norm's is one column. It does not know files
or bases.

Source: Golub and Van Loan, Matrix Computations, 4th ed., section 5.4.1 (QR before SVD).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LowRank, Plain


@dataclass(frozen=True, eq=False)
class Svd:
    """ΔW = U · diag(S) · Vᵀ of one layer, float64.

    Attributes:
        u: (out, k), orthonormal columns: the outputs that the change writes to.
        s: (k,) singular values, descending, none negative.
        v: (in·kh·kw, k), orthonormal columns: the inputs that the change reads.
        kernel: () of a linear layer, (in, kh, kw) of a convolution.
    """

    u: Tensor
    s: Tensor
    v: Tensor
    kernel: tuple[int, ...] = ()

    @property
    def energy(self) -> float:
        """‖ΔW‖² (Frobenius)."""
        return float(self.s.square().sum())

    @property
    def spatial(self) -> bool:
        """True for a convolution whose kernel is larger than 1x1."""
        return self.kernel[1:] not in ((), (1, 1))

    def cut(self, rank: int, delta_bias: Tensor | None = None) -> LowRank:
        """The best factors of `rank` (at most k), the singular values' square roots on both sides, float32.

        Both sides carry the same size, so that neither overflows or loses digits in half precision.
        """
        root = self.s[:rank].sqrt()
        up, down = self.u[:, :rank] * root, (self.v[:, :rank] * root).T
        if self.kernel:
            up, down = up[:, :, None, None], down.reshape(-1, *self.kernel)
        return LowRank(down.float().contiguous(), up.float().contiguous(), delta_bias)


def decompose(change: Plain) -> Svd:
    """The decomposition of one layer's change."""
    if isinstance(change, LowRank):
        kernel = tuple(change.down.shape[1:]) if change.down.ndim == 4 else ()
        q_up, r_up = torch.linalg.qr(change.up.detach().double().flatten(1))
        q_down, r_down = torch.linalg.qr(change.down.detach().double().flatten(1).T)
        u, s, vh = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
        return Svd(q_up @ u, s, q_down @ vh.T, kernel)
    delta = change.delta()
    u, s, vh = torch.linalg.svd(_matrix(delta), full_matrices=False)
    return Svd(u.double(), s.double(), vh.T.double(), tuple(delta.shape[1:]) if delta.ndim == 4 else ())


def singular_values(change: Plain) -> Tensor:
    """The singular values of one layer's ΔW, descending, float64; of factors at most as many as their rank."""
    if isinstance(change, LowRank):
        r_up = torch.linalg.qr(change.up.detach().double().flatten(1), mode="r").R
        r_down = torch.linalg.qr(change.down.detach().double().flatten(1).T, mode="r").R
        small: Tensor = torch.linalg.svdvals(r_up @ r_down.T)
        return small
    values: Tensor = torch.linalg.svdvals(_matrix(change.delta())).double()
    return values


def _matrix(delta: Tensor) -> Tensor:
    """A difference as a matrix: (n,) as one column, (out, in, kh, kw) as (out, in·kh·kw)."""
    return delta[:, None] if delta.ndim == 1 else delta.flatten(1)
