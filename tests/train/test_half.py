"""Training where the base is held in float16, as on GPUs that have no bfloat16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_studio.pipeline import ModelCall, Precision, SharedBase, load_base
from lora_studio.pipeline.source import find_base
from lora_studio.train.student import Student, descale
from lora_studio.types import TrainConfig
from tests.support.tiny import EXACT, write_tiny_base

HALF = Precision(torch.device("cpu"), torch.float16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


def gradients(base: SharedBase, size: float) -> dict[str, Tensor]:
    """Of the student's B matrices, for losses of that size."""
    config = TrainConfig(name="ears", dataset="x", rank=4, batch_size=2, max_grad_norm=0.0)
    student = Student(base, config)
    generator = torch.Generator().manual_seed(0)
    latents, target = (torch.randn(2, 4, 16, 16, generator=generator) for _ in range(2))
    embeddings = torch.randn(2, 77, 32, generator=generator)
    predicted = student.predict(ModelCall(latents, torch.tensor([100, 600]), embeddings, None, ((), ())))
    student.step(size * (predicted - target).square().mean(dim=(1, 2, 3)), 0.0)
    found = {name: parameter.grad for name, parameter in student.parameters.items() if name.endswith(".up")}
    return {name: gradient.flatten() for name, gradient in found.items() if gradient is not None}


def test_small_losses_teach_in_float16_too(folder: Path) -> None:
    """The numbers of float16 end at 6e-8: gradients below were zeros, and the LoRA learnt next to nothing."""
    source = find_base(str(folder), folder)
    exact, half = (gradients(load_base(source, precision), 1e-5) for precision in (EXACT, HALF))
    assert set(exact) == set(half)
    whole, found = (torch.cat([one[name] for name in sorted(one)]) for one in (exact, half))
    assert torch.nn.functional.cosine_similarity(whole, found, dim=0) > 0.99
    assert 0.9 < float(found.norm() / whole.norm()) < 1.1


def test_a_gradient_is_divided_by_the_loss_s_scale() -> None:
    for scale in (1.0, 4096.0):
        parameter = torch.nn.Parameter(torch.tensor([3.0]))
        descale(parameter, scale)
        (scale * parameter.square().sum()).backward()
        assert parameter.grad is not None
        assert float(parameter.grad) == 6.0
