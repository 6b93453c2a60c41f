"""Muon: its iteration against singular values, alone and together, and what it may touch."""

from __future__ import annotations

import copy

import torch

from pretrain.muon import Muon, orthogonalise
from pretrain.trainer import suits_muon


def _matrices(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_singular_values_come_near_to_one() -> None:
    given = _matrices(3, 16, 40)
    found = orthogonalise(given)
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.25
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    assert float(torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0)) > 0.98


def test_matrices_do_not_know_of_each_other_and_their_scale_is_nothing() -> None:
    given = _matrices(3, 8, 8)
    found = orthogonalise(given)
    torch.testing.assert_close(found[1:2], orthogonalise(given[1:2]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, orthogonalise(given * 1e-3), rtol=1e-3, atol=1e-3)


def test_a_first_step_is_an_orthogonal_one_of_the_rate() -> None:
    for shape in ((6, 4), (4, 6), (6, 2, 3, 3)):
        p = torch.nn.Parameter(_matrices(*shape))
        before = p.detach().clone()
        p.grad = _matrices(*shape) * 7
        Muon([p], lr=0.1).step()
        moved = (before - p.detach()).reshape(shape[0], -1)
        size = max(1.0, moved.shape[0] / moved.shape[1]) ** 0.5
        values = torch.linalg.svdvals(moved) / (0.1 * size)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
        assert float((moved * p.grad.reshape(shape[0], -1)).sum()) > 0


def test_the_layout_of_a_kernel_changes_nothing() -> None:
    plain = torch.nn.Parameter(_matrices(6, 4, 3, 3))
    turned = torch.nn.Parameter(plain.detach().clone(memory_format=torch.channels_last))
    for seed in range(3):
        gradient = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
        plain.grad, turned.grad = gradient.clone(), gradient.clone()
        Muon([plain], lr=0.1).step()
        Muon([turned], lr=0.1).step()
    assert turned.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(turned.detach(), plain.detach(), rtol=1e-4, atol=1e-5)


def test_bf16_goes_to_the_same_place_within_its_digits() -> None:
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        p = torch.nn.Parameter(torch.zeros(16, 4, 3, 3))
        p.grad = _matrices(16, 4, 3, 3)
        Muon([p], lr=1.0, dtype=dtype).step()
        moved[dtype] = p.detach().flatten()
        assert p.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(*moved.values(), dim=0)) > 0.995
    assert not torch.equal(*moved.values())


def test_weight_decay_and_absent_gradients() -> None:
    touched, other = torch.nn.Parameter(torch.ones(3, 3)), torch.nn.Parameter(torch.ones(3, 3))
    touched.grad = torch.zeros(3, 3)
    Muon([touched, other], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(touched.detach(), torch.full((3, 3), 0.95))
    assert torch.equal(other.detach(), torch.ones(3, 3))


def test_it_learns_and_its_state_can_be_taken_over() -> None:
    goal = _matrices(5, 5)

    def run(steps: int, p: torch.nn.Parameter, optimizer: Muon) -> float:
        loss = torch.zeros(())
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (p - goal).square().mean()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    whole = torch.nn.Parameter(torch.zeros(5, 5))
    optimizer = Muon([whole], lr=0.05)
    first = run(1, whole, optimizer)
    copied = torch.nn.Parameter(whole.detach().clone())
    other = Muon([copied], lr=0.05)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert run(20, whole, optimizer) < 0.5 * first
    run(20, copied, other)
    assert torch.equal(whole, copied)


def test_embeddings_and_outer_convolutions_are_left_to_adam() -> None:
    kernel, matrix = torch.zeros(4, 4, 3, 3), torch.zeros(4, 4)
    assert suits_muon("down_blocks.0.resnets.0.conv1.weight", kernel)
    assert suits_muon("encoder.layers.0.mlp.fc1.weight", matrix)
    assert not suits_muon("conv_in.weight", kernel)
    assert not suits_muon("time_embedding.linear_1.weight", matrix)
    assert not suits_muon("embeddings.token_embedding.weight", matrix)
    assert not suits_muon("down_blocks.0.resnets.0.norm1.weight", torch.zeros(4))
