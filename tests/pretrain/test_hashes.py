"""A base's hash is the app's, whatever the files of its weights are called; tokenizers and networks have one each."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lora_studio.pipeline.folder import _hash_weights
from pretrain.hashes import network_hash, schedule_of, tokenizer_hash, weights_hash
from tests.pretrain.conftest import ASSETS


def test_the_hash_of_a_base_is_the_apps() -> None:
    assert weights_hash(ASSETS) == _hash_weights(ASSETS)[0]


def test_a_tokenizer_is_known_by_its_numbers_alone(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    first = tokenizer_hash(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert tokenizer_hash(tmp_path) == first
    (tmp_path / "tokenizer.json").write_text("{ }", encoding="utf-8")
    assert tokenizer_hash(tmp_path) != first


def test_a_network_is_known_by_its_numbers_whatever_their_layout() -> None:
    network = nn.Conv2d(4, 4, 3)
    first = network_hash(network)
    assert network_hash(network.to(memory_format=torch.channels_last)) == first  # type: ignore[call-overload]
    with torch.no_grad():
        network.weight[0, 0, 0, 0] += 1
    assert network_hash(network) != first


def test_a_schedule_is_told_whole() -> None:
    found = schedule_of(ASSETS)
    assert (found["prediction_type"], found["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert found["num_train_timesteps"] == 1000
