"""The judge as others use it: pictures in, probabilities out.

It knows no training and no painter; the labels come with the weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from pretrain.judge.network import JudgeNetwork, prepare

WEIGHTS = Path(__file__).with_name("weights.safetensors")


class Judge:
    """A trained network with its labels."""

    def __init__(self, network: JudgeNetwork, labels: dict[str, list[str]]) -> None:
        self.network = network.eval()
        self.labels = labels

    @torch.no_grad()
    def predict(self, images: NDArray[np.uint8] | Tensor, batch: int = 64) -> dict[str, NDArray[np.float32]]:
        """Probabilities (n, classes) by head, in the order of `labels`, for uint8 pictures (n, h, w, 3) of any size."""
        pictures = images if isinstance(images, Tensor) else torch.from_numpy(np.ascontiguousarray(images))
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
            raise ValueError(
                f"the judge was given {pictures.dtype} {tuple(pictures.shape)}; "
                "give it uint8 pictures of shape (n, height, width, 3)"
            )
        rows: dict[str, list[Tensor]] = {head: [] for head in self.labels}
        for start in range(0, len(pictures), batch):
            for head, logits in self.network(prepare(pictures[start : start + batch])).items():
                rows[head].append(logits.float().softmax(1))
        return {
            head: (torch.cat(parts) if parts else torch.zeros(0, len(self.labels[head]))).numpy()
            for head, parts in rows.items()
        }

    def names(self, images: NDArray[np.uint8] | Tensor) -> dict[str, list[str]]:
        """The most probable label of every picture by head."""
        found = self.predict(images)
        return {head: [self.labels[head][k] for k in rows.argmax(1)] for head, rows in found.items()}


def load_judge(path: Path | str | None = None) -> Judge:
    """The judge from a weights file; without one, from the file that comes with this package."""
    with safe_open(str(path or WEIGHTS), "pt") as file:
        labels: dict[str, list[str]] = json.loads(file.metadata()["labels"])
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (no mapping)
    network = JudgeNetwork({head: len(words) for head, words in labels.items()})
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{path or WEIGHTS} is no judge: missing {missing[:3]}, unexpected {list(unexpected)[:3]}")
    return Judge(network, labels)
