"""The command line, progress, and the machine that is computed on."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pretrain import machine
from pretrain.__main__ import main, stopper
from pretrain.machine import Machine, choose
from pretrain.progress import Log, Progress, line, read_log, spell
from pretrain.recipe import Optimizer
from pretrain.trainer import rate_factor
from tests.pretrain.conftest import TINY

pytestmark = pytest.mark.usefixtures("one_thread")


# ---------------------------------------------------------------- progress
def test_the_time_that_is_left_is_the_time_that_passes() -> None:
    """Two seconds a step, and a sheet of 60 seconds in the middle: speed is of the wall clock."""
    now = [0.0]
    progress = Progress(10, 110, 32, 30.0, samples=1000, before=3600.0, clock=lambda: now[0])
    said = []
    for step in range(11, 61):
        now[0] += 2 if step != 40 else 62
        if progress.count(step, 1.0):
            said.append(progress.row(step, 1.0, {"psnr": 27.123456}))
    assert said[0]["samples_per_second"] == pytest.approx(16.0)
    assert said[0]["seconds_left"] == pytest.approx(2 * (110 - said[0]["step"]), rel=1e-3)
    last = said[-1]
    assert last["hours"] == pytest.approx(1 + now[0] / 3600, abs=0.01)
    assert last["samples_per_second"] == pytest.approx(32 * (last["step"] - 10) / now[0], rel=0.1)
    assert last["seconds_left"] == pytest.approx((110 - last["step"]) * now[0] / (last["step"] - 10), rel=0.1)
    assert last["samples"] == 1000 + (last["step"] - 10) * 32
    assert last["psnr"] == 27.12346


def test_a_line_says_when_it_ends_and_when_the_call_does() -> None:
    progress = Progress(0, 10, 4, 0.0, clock=iter([float(k) for k in range(50)]).__next__)
    assert progress.count(1, 0.5)
    row = progress.row(1, 1.0, {})
    assert "step 1 of 10 (10.0 %), 4 samples, loss 0.5000" in line(row, 10)
    assert "this call" not in line(row, 10)
    assert line(row, 10, 3.0).endswith("this call in 3 s")
    assert [spell(12.3), spell(150), spell(3725)] == ["12 s", "2 min", "1 h 02 min"]


def test_a_log_forgets_what_was_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 5}\n{"step": 9}\n{"ste', encoding="utf-8")  # killed while writing
    Log(path, 5).add({"step": 6})
    assert [row["step"] for row in read_log(path)] == [1, 5, 6]


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Optimizer(warmup=10, decay=0.5, last=0.02)
    found = [rate_factor(step, 100, recipe) for step in range(100)]
    assert found[0] == pytest.approx(0.1)
    assert found[9] == found[49] == 1.0
    assert found[75] == pytest.approx(0.5)
    assert found[99] == pytest.approx(0.02)
    assert all(b <= a for a, b in pairwise(found[50:]))
    assert rate_factor(99, 100, Optimizer(warmup=0, decay=0)) == 1.0


# ---------------------------------------------------------------- machine
def test_attention_alone_is_in_float32() -> None:
    q = torch.randn(1, 2, 8, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    a = torch.ones(4, 4)
    with Machine("cpu", True, True).autocast():
        found, product = F.scaled_dot_product_attention(q, q, value=q), a @ a
    assert (found.dtype, product.dtype) == (torch.bfloat16, torch.bfloat16)
    wanted = F.scaled_dot_product_attention(q.float(), q.float(), q.float())
    assert torch.equal(found, wanted.bfloat16())
    found.float().sum().backward()
    assert q.grad is not None
    with Machine("cpu", False, False).autocast():
        assert (a @ a).dtype == torch.float32


def test_what_pays_is_chosen_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for bf16, attention, wanted in ((4.0, 0.3, (True, True)), (4.0, 2.0, (True, False)), (0.01, 0.3, (False, False))):
        monkeypatch.setattr(machine, "bf16_gain", lambda gain=bf16: gain)
        monkeypatch.setattr(machine, "attention_gain", lambda gain=attention: gain)
        found = choose()
        assert (found.device, found.bf16, found.attention_fp32) == ("cpu", *wanted)
    assert choose(saved={"device": "cpu", "bf16": True, "attention_fp32": True}) == Machine("cpu", True, True)
    assert choose(saved={"device": "cuda", "bf16": True, "attention_fp32": False}) == Machine("cpu", False, False)
    assert choose("cpu", "fp32", {"device": "cpu", "bf16": True, "attention_fp32": True}) == Machine(
        "cpu", False, False
    )
    with pytest.raises(ValueError, match="is not there"):
        choose("cuda")


def test_bf16_that_does_not_pay_on_this_processor_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that began with AVX512 went on sixty times slower elsewhere, without a word."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    saved = {"device": "cpu", "bf16": True, "attention_fp32": True}
    for gain, told in ((1.5, ""), (0.02, "--set numbers=fp32 --accept-changes")):
        monkeypatch.setattr(machine, "bf16_gain", lambda gain=gain: gain)
        assert choose(saved=saved) == Machine("cpu", True, True)
        assert told in (said := capsys.readouterr().out)
        assert bool(said) == bool(told)


def test_the_probe_measures() -> None:
    assert 0 < machine.bf16_gain() < 1000
    assert 0 < machine.attention_gain() < 1000


# ---------------------------------------------------------------- command line
def test_mistakes_end_with_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["diffusion", "--set", "diffusion.batch=0"]) == 2
    assert capsys.readouterr().err == "Diffusion.batch is 0; allowed is 1 to any; write a value in that range.\n"
    assert main(["diffusion", "--pictures", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "python -m pretrain pictures" in told
    assert told.count("\n") == 1
    assert main(["evaluate", "--base", str(tmp_path / "nowhere")]) == 2
    assert "is no base" in capsys.readouterr().err


@pytest.mark.slow
def test_a_call_ends_in_time_and_the_next_goes_on(
    drawn: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [part for change in (*TINY, f'base="{tiny_base}"') for part in ("--set", change)]
    old = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        command = ["diffusion", "--pictures", str(drawn), "--run", str(tmp_path / "run"), *changes]
        assert main([*command, "--run", str(tmp_path / "latents"), "--set", "diffusion.steps=1"]) == 0  # lays them out
        capsys.readouterr()
        assert main([*command, "--minutes", "0"]) == 0
        assert "1 steps in this call" in capsys.readouterr().out
        assert main(command) == 0
        assert "5 steps in this call" in capsys.readouterr().out
        assert main(["export", "--out", str(tmp_path / "out"), "--diffusion", str(tmp_path / "run"), *changes]) == 0
        assert "diffusion at step 6; 24 samples in all; loaded again and equal" in capsys.readouterr().out
        few = ["--count", "2", "--steps", "1", "--renders", "2", "--prompt-seed", "6"]
        few += ["--json", str(tmp_path / "figures.json")]
        assert main(["evaluate", "--base", str(tmp_path / "out"), *few, *changes]) == 0
        assert "unseen prompts" in capsys.readouterr().out
    finally:
        for one, handler in old.items():
            signal.signal(one, handler)
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["prompts"], figures["prompt_seed"], figures["seed"]) == (2, 6, 5000)


def test_ctrl_c_asks_for_a_checkpoint() -> None:
    old = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        left, timed = stopper(None), stopper(5.0)
        assert left() is None
        assert 290 < (timed() or 0) <= 300
        signal.raise_signal(signal.SIGTERM)
        assert timed() == 0.0
        with pytest.raises(KeyboardInterrupt):  # latents are laid out for minutes; nothing but a kill ended that
            signal.raise_signal(signal.SIGINT)
    finally:
        for one, handler in old.items():
            signal.signal(one, handler)


def test_a_second_ctrl_c_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pretrain.__main__._run", interrupted)
    assert main(["pictures"]) == 130
    assert capsys.readouterr().err == (
        "interrupted; what was written before stands, and the same command goes on from there\n"
    )


def test_the_judges_commands_are_reached(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pytest"])
    with pytest.raises(SystemExit) as ended:
        main(["judge", "train", "--help"])
    assert ended.value.code == 0
    assert "folder of the checkpoint" in capsys.readouterr().out


def test_the_painter_and_the_tokenizer_have_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skia")
    few = ["--set", "pictures.count=4", "--set", "pictures.shard=2", "--set", "pictures.processes=1"]
    assert main(["pictures", "--pictures", str(tmp_path / "pictures"), *few]) == 0
    assert "painted 4 pictures" in capsys.readouterr().out
    assert main(["tokenizer", "--out", str(tmp_path / "tokenizer")]) == 0
    assert "1290 tokens" in capsys.readouterr().out
