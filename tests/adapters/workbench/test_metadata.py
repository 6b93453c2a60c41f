"""What is written into a header, and that the tensors stay bit for bit; the hashes against kohya's own definition."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from lora_studio.adapters.door import read_header
from lora_studio.adapters.workbench.metadata import HASHES, Edit, plan, private_keys, rewritten
from lora_studio.adapters.workbench.sealing import metadata_of
from lora_studio.adapters.workbench.thumbnail import LARGEST, SIDE, data_url
from lora_studio.errors import InvalidInput
from lora_studio.types.library import BUNDLED

TENSORS: dict[str, Tensor] = {
    "b.lora_down.weight": torch.randn(3, 70_000).half(),
    "a.lora_up.weight": torch.randn(90_000, 3),
    "a.alpha": torch.tensor(3.0),
}
SAID = {
    "ss_output_name": "my cat",
    "ss_network_dim": "3",
    "ss_tag_frequency": '{"cat": {"ears": 3}}',
    "ss_dataset_dirs": '{"10_cat": {"n_repeats": 10}}',
    "modelspec.title": '猫耳 \\ "x"\n',
    "note": "trained from /home/ann/pictures/cats",
    "page": "https://example.org/a/b",
    "lora_adapter_metadata": '{"base_model_name_or_path": "/models/sd"}',
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with much to say."""
    path = tmp_path / "cat.safetensors"
    save_file(TENSORS, path, metadata=SAID)
    return path


def after(path: Path, edit: Edit) -> tuple[dict[str, str], bytes]:
    """The metadata that another reader finds after an edit, and the bytes of the file."""
    named = read_header(path, "cat")
    planned = plan(path, named, edit)
    data = b"".join(rewritten(path, named, planned.metadata))
    target = path.with_name("after.safetensors")
    target.write_bytes(data)
    with safe_open(target, framework="pt") as opened:
        for name, tensor in TENSORS.items():
            assert torch.equal(opened.get_tensor(name), tensor)
        found = dict(opened.metadata() or {})
    assert found == planned.metadata
    return found, data


def body(data: bytes) -> bytes:
    """What stands behind the header."""
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_set_and_remove_leave_the_tensors_and_everything_else(file: Path) -> None:
    original = file.read_bytes()
    found, data = after(file, Edit({"modelspec.author": "安", "note": "new"}, remove=("page",)))
    expected = {k: v for k, v in SAID.items() if k != "page"} | {"modelspec.author": "安", "note": "new"}
    assert found == expected
    assert body(data) == body(original)
    assert file.read_bytes() == original
    assert (8 + int.from_bytes(data[:8], "little")) % 8 == 0


def test_a_preview_says_exactly_what_changes(file: Path) -> None:
    planned = plan(
        file, read_header(file, "cat"), Edit({"note": "new", "page": SAID["page"]}, remove=("ss_network_dim",))
    )
    assert [(c.key, c.before, c.after) for c in planned.changes] == [
        ("note", SAID["note"], "new"),
        ("ss_network_dim", "3", None),
    ]


def test_strip_takes_what_is_private_and_leaves_what_readers_need(file: Path) -> None:
    found, data = after(file, Edit({}, strip=True))
    assert set(SAID) - set(found) == {"ss_output_name", "ss_tag_frequency", "ss_dataset_dirs", "note"}
    for word in (b"/home/ann", b"10_cat", b"my cat", b"ears"):
        assert word not in data


@pytest.mark.parametrize(
    ("value", "private"),
    [
        ("C:\\Users\\ann\\x.safetensors", True),
        ("D:/models/a.ckpt", True),
        ("~/models/a.ckpt", True),
        ('{"dir": "/data/sets/cat"}', True),
        ("\\\\server\\share", True),
        ("stable-diffusion-v1/lora", False),
        ("https://example.org/one/two", False),
        ("data:image/png;base64,AAAA/BBBB/CC/DD", False),
        ("1/2/3", False),
        ("a: b", False),
    ],
)
def test_paths_of_a_machine_are_found(value: str, private: bool) -> None:
    assert (private_keys({"x": value}) == ("x",)) is private


def kohya_hashes(metadata: dict[str, str]) -> tuple[str, str]:
    """As sd-scripts computes them: on a file of the same tensors with the `ss_*` metadata alone."""
    data = save(TENSORS, {k: v for k, v in metadata.items() if k.startswith("ss_")} or None)
    return hashlib.sha256(body(data)).hexdigest(), hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]


@pytest.mark.parametrize("edit", [Edit({}, hashes=True), Edit({"ss_x": "längere Zeile 猫\n"}, strip=True, hashes=True)])
def test_hashes_are_kohya_s(file: Path, edit: Edit) -> None:
    found, data = after(file, edit)
    whole, legacy = kohya_hashes(found)
    assert found["sshs_model_hash"] == whole == hashlib.sha256(body(data)).hexdigest()
    assert found["sshs_legacy_hash"] == legacy
    assert found["modelspec.hash_sha256"] == f"0x{whole}"


def test_hashes_that_are_there_follow_an_edit(tmp_path: Path) -> None:
    """A wrong hash in a file would make A1111 show another file's picture; none is added unasked."""
    path = tmp_path / "h.safetensors"
    save_file(TENSORS, path, metadata={"sshs_model_hash": "0" * 64, "ss_a": "1"})
    found, _ = after(path, Edit({"x": "y"}))
    assert found["sshs_model_hash"] == kohya_hashes({"ss_a": "1"})[0]
    assert not {*HASHES[1:]} & set(found)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (Edit({}, remove=("nothing",)), "has no key 'nothing'; remove one that is there: .*ss_output_name"),
        (Edit({"": "x"}), "key '' is not allowed"),
        (Edit({"a\nb": "x"}), "is not allowed; give 1 to 200 printable"),
        (Edit({"k": "x" * (4 * 2**20 + 1)}), "value of 'k' is not allowed"),
        (Edit({f"k{n}": "x" * 4 * 2**20 for n in range(3)}), "would make a header of [0-9]+ bytes; at most 10485760"),
    ],
)
def test_what_is_refused(file: Path, edit: Edit, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        plan(file, read_header(file, "cat"), edit)


def test_a_file_without_metadata(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(TENSORS, path)
    found, _ = after(path, Edit({"a": "b"}))
    assert found == {"a": "b"}
    assert json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")]).keys() == set(TENSORS)


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    """A noisy picture with a text inside."""
    noise = torch.randint(0, 256, (height, width, len(mode)), generator=torch.Generator().manual_seed(1)).byte()
    text, out = PngInfo(), io.BytesIO()
    text.add_text("parameters", "my secret prompt")
    Image.fromarray(noise.numpy(), mode).save(out, "PNG", pnginfo=text)
    return out.getvalue()


@pytest.mark.parametrize(("size", "mode"), [((900, 600), "RGB"), ((64, 64), "RGBA")])
def test_a_thumbnail_is_small_and_says_nothing(size: tuple[int, int], mode: str) -> None:
    url = data_url(png(*size, mode))
    head, _, text = url.partition(",")
    assert head == "data:image/jpeg;base64"
    data = base64.b64decode(text)
    assert len(data) <= LARGEST
    assert b"secret" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert max(image.size) == min(SIDE, max(size))
        assert image.size[0] / image.size[1] == pytest.approx(size[0] / size[1], rel=0.01)


def test_no_picture_is_no_thumbnail() -> None:
    with pytest.raises(InvalidInput, match=r"cat\.txt is no picture"):
        data_url(b"hello", "cat.txt")


def test_the_library_s_own_key_is_no_file_s(tmp_path: Path) -> None:
    """Bug: a file could name other files under it, and its entry was then said to hold them."""
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, metadata={BUNDLED: "[]", "note": "x"})
    named = read_header(path, "a")
    planned = plan(path, named, Edit({}))
    assert planned.metadata == {"note": "x"}
    assert [(one.key, one.after) for one in planned.changes] == [(BUNDLED, None)]
    with pytest.raises(InvalidInput, match=f"key '{BUNDLED}' is the library's own"):
        plan(path, named, Edit({BUNDLED: "[]"}))
    assert BUNDLED not in metadata_of([{BUNDLED: "[]", "note": "x"}], {}, {})
