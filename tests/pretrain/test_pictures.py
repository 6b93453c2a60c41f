"""Painted files and cached latents: the painter's own pictures, whole files, going on where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("skia")

from diffusers import AutoencoderKL

from pretrain.batches import Order
from pretrain.files import replacing
from pretrain.latents import LatentSet, build, decoded, encode, encoder_hash
from pretrain.machine import Machine
from pretrain.painter import base_item
from pretrain.pictures import UNSEEN, PictureSet, paint, unseen
from pretrain.progress import Stopped
from pretrain.recipe import Pictures

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)
SMALL = Pictures(16, 8, 1)


def _stamps(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.rglob("*.npy")}


def test_a_number_names_the_painters_picture(drawn: Path) -> None:
    pictures = PictureSet(drawn, SMALL)
    assert len(pictures) == 16
    for number in (0, 9):
        image, caption, _ = base_item(number)
        assert (pictures.take(np.array([number]))[0] == image).all()
        assert pictures.captions[number] == caption


def test_painting_goes_on_where_it_was_stopped_and_adds(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True)
    before = _stamps(tmp_path)
    (tmp_path / "images-00001.npy").rename(tmp_path / "images-00001.npy.partial")  # as a kill leaves it
    assert paint(tmp_path, Pictures(24, 8, 1)) == 16
    after = _stamps(tmp_path)
    assert after["images-00000.npy"] == before["images-00000.npy"]
    assert (PictureSet(tmp_path, SMALL).shards[1] == PictureSet(drawn, SMALL).shards[1]).all()
    assert paint(tmp_path, Pictures(24, 8, 1)) == 0
    assert len(PictureSet(tmp_path, Pictures(24, 8, 1))) == 24


@pytest.mark.slow
def test_processes_paint_the_same(drawn: Path, tmp_path: Path) -> None:
    assert paint(tmp_path, Pictures(16, 8, 2)) == 16
    assert (PictureSet(tmp_path, SMALL).shards[1] == PictureSet(drawn, SMALL).shards[1]).all()


def test_a_folder_of_another_kind_is_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shards of 8 pictures and the recipe asks for 4"):
        paint(drawn, Pictures(16, 4, 1))
    with pytest.raises(FileNotFoundError, match="lacks 1 of 3 files"):
        PictureSet(drawn, Pictures(24, 8, 1))
    with pytest.raises(FileNotFoundError, match="python -m pretrain pictures"):
        PictureSet(tmp_path, SMALL)


def test_captions_with_held_out_words_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _, truth = base_item(0)
    monkeypatch.setattr("pretrain.painter.base_item", lambda number: (image, "1girl, cat ears", truth))
    with pytest.raises(ValueError, match="must not know"):
        paint(tmp_path, Pictures(8, 8, 1))
    assert not list(tmp_path.glob("*.npy"))


def test_unseen_pictures_are_others() -> None:
    assert (unseen(2)[1] == base_item(UNSEEN + 1)[0]).all()
    assert UNSEEN > 1_000_000


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A block that fails leaves what was there before."""
    path = tmp_path / "figures.json"
    with replacing(path) as file:
        file.write(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["figures.json"]


# ---------------------------------------------------------------- latents
def _vae(base: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32).eval()


def test_latents_are_those_of_the_pictures_and_of_their_mirrors(drawn: Path, tiny_base: Path) -> None:
    vae, pictures = _vae(tiny_base), PictureSet(drawn, SMALL)
    latents = LatentSet(build(pictures, vae, PLAIN), 2, "cpu")
    found = latents.take(torch.tensor([9, 3]), torch.tensor([0, 1]))
    images = pictures.take(np.array([9, 3]))
    images[1] = images[1][:, ::-1]
    with torch.no_grad():
        wanted = vae.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-3)
    assert found.shape == (2, 4, 16, 16)
    torch.testing.assert_close(encode(vae, images, PLAIN), wanted)


def test_the_cache_goes_on_and_knows_its_encoder(drawn: Path, tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("latents-*"))
    vae, pictures = _vae(tiny_base), PictureSet(tmp_path, SMALL)
    folder = build(pictures, vae, PLAIN)
    first = _stamps(folder)
    content = np.load(folder / "latents-00001.npy")
    (folder / "latents-00001.npy").unlink()
    assert build(pictures, vae, PLAIN) == folder
    assert _stamps(folder)["latents-00000.npy"] == first["latents-00000.npy"]
    assert (np.load(folder / "latents-00001.npy") == content).all()
    with torch.no_grad():
        vae.decoder.conv_out.weight.add_(1)
    assert build(pictures, vae, PLAIN) == folder
    assert encoder_hash(vae.half()) == encoder_hash(_vae(tiny_base))
    with torch.no_grad():
        vae.encoder.conv_in.weight.add_(1)
    assert encoder_hash(vae)[:12] not in folder.name


def test_laying_out_latents_can_be_ended(drawn: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Between two files; what is there stays, and a call that has nothing to lay out asks nobody."""
    shutil.copytree(drawn, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("latents-*"))
    vae, pictures = _vae(tiny_base), PictureSet(tmp_path, SMALL)
    with pytest.raises(Stopped, match="1 of 2 missing files are there now"):
        build(pictures, vae, PLAIN, lambda: 0.0)
    assert [file.name for file in sorted(tmp_path.rglob("latents-*.npy"))] == ["latents-00000.npy"]
    folder = build(pictures, vae, PLAIN, lambda: 0.0)  # the last file is followed by none
    assert len(list(folder.glob("*.npy"))) == 2


def test_decoded_pictures_have_the_pictures_shape(tiny_base: Path) -> None:
    images = unseen(3)
    found = decoded(_vae(tiny_base), images, PLAIN, batch=2)
    assert found.shape == (3, 3, 128, 128)
    assert torch.isfinite(found).all()


# ---------------------------------------------------------------- order
def test_every_picture_comes_once_an_epoch() -> None:
    order = Order(10, 4, seed=3)
    seen = torch.cat([order.at(step)[0] for step in range(5)]).tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_a_step_names_its_pictures_whatever_was_asked_before() -> None:
    order, other = Order(10, 4, seed=3), Order(10, 4, seed=3)
    walked = [order.at(step) for step in range(8)]
    indices, mirrored = other.at(7)
    assert indices.tolist() == walked[7][0].tolist()
    assert mirrored.tolist() == walked[7][1].tolist()
    assert Order(10, 4, seed=4).at(0)[0].tolist() != walked[0][0].tolist()
    sides = torch.cat([Order(1000, 500, 0, 0.25).at(step)[1] for step in range(4)])
    assert 0.2 < float(sides.float().mean()) < 0.3


def test_captions_are_written_before_pictures(drawn: Path) -> None:
    for shard in range(2):
        captions = drawn / f"captions-{shard:05d}.json"
        assert captions.stat().st_mtime_ns <= (drawn / f"images-{shard:05d}.npy").stat().st_mtime_ns
        assert len(json.loads(captions.read_text(encoding="utf-8"))) == 8
