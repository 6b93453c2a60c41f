"""What goes wrong on real machines, made for real: locked folders, small disks, broken and foreign LoRA files."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder without write permission: one of the kernel's for root, who may write everywhere else."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        if not Path("/sys/kernel").is_dir():
            pytest.skip("root may write everywhere on this system")
        yield Path("/sys/kernel")
        return
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


@contextlib.contextmanager
def small_disk_at(folder: Path, size: str) -> Iterator[Path]:
    """A real file system of `size` (as mount takes it: 400k, 30m); skips the test where nobody may mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def write_half(good: Path, torn: Path) -> None:
    """A good LoRA file that breaks off."""
    whole = good.read_bytes()
    torn.write_bytes(whole[: len(whole) // 2])


def write_foreign(path: Path) -> None:
    """A LoRA for layers that no base of ours has."""
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(4, 3072),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(9216, 4),
    }
    save_file(tensors, path, metadata={"modelspec.architecture": "flux-1-dev/lora"})
