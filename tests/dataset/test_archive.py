"""Zips: what is meant is read, what is made to harm is refused before anything is unpacked."""

from __future__ import annotations

import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.dataset import archive
from lora_studio.dataset.archive import entries, is_junk
from lora_studio.errors import DatasetError


def packed(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in content.items():
            made.writestr(name, data)
    return path


def refused(path: Path, *parts: str) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        list(entries(path, "cats.zip"))
    assert "'cats.zip'" in caught.value.message
    for part in parts:
        assert part in caught.value.message
    return caught.value


def test_files_come_in_their_order_and_junk_is_left_out(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "a.zip",
        {
            "cats/": b"",
            "cats/2.png": b"two",
            "cats/1.png": b"one",
            "__MACOSX/cats/._1.png": b"junk",
            "cats/.DS_Store": b"junk",
            "cats/Thumbs.db": b"junk",
            "desktop.ini": b"junk",
            "cats/1.txt": b"caption",
        },
    )
    found = list(entries(path))
    assert [(entry.name, entry.data) for entry in found] == [
        ("cats/2.png", b"two"),
        ("cats/1.png", b"one"),
        ("cats/1.txt", b"caption"),
    ]
    assert [entry.name for entry in entries(path, wanted=lambda name: name.endswith(".txt"))] == ["cats/1.txt"]


@pytest.mark.parametrize(
    "name", ["__MACOSX/a.png", "a/._b.png", ".hidden", "x/.git/config", "Thumbs.db", "a\\.DS_Store"]
)
def test_junk(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", ["a.png", "a/b.c/d.png", "…/猫.png", "macosx.png"])
def test_no_junk(name: str) -> None:
    assert not is_junk(name)


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "a\\..\\..\\evil.png", "C:\\evil.png"]
)
def test_names_that_lead_outside_refuse_the_archive(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "a.zip", {"good.png": b"good", "evil": b"evil"})
    data = path.read_bytes()
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("good.png", b"good")
        info = zipfile.ZipInfo("x")
        info.filename = name
        made.writestr(info, b"evil")
    assert path.read_bytes() != data
    error = refused(path, "leads out of the archive", "evil.png")
    assert error.code == "zip_outside"
    assert [other.name for other in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_refuse_the_archive(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        info = zipfile.ZipInfo("link.png")
        info.create_system = 3
        info.external_attr = (kind | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    assert refused(path, "'link.png'", "not a file").code == "zip_link"


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"ok.png": b"x", "bomb.png": bytes(20_000_000)})
    assert path.stat().st_size < 30_000
    assert refused(path, "'bomb.png'", "unpacks to far more").code == "zip_bomb"


def test_a_bomb_that_lies_is_cut_off_at_what_it_declared(tmp_path: Path) -> None:
    """The list of entries says 1000 bytes, the data unpack to 20 MB."""
    path = packed(tmp_path / "a.zip", {"bomb.png": bytes(20_000_000)})
    data = path.read_bytes().replace(struct.pack("<I", 20_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    (entry,) = entries(path, "cats.zip")
    assert entry.data == b""
    assert entry.error is not None
    assert "'bomb.png' in the archive 'cats.zip' is damaged" in entry.error.message


def test_one_entry_is_never_read_beyond_what_a_picture_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_studio.dataset.intake.MAX_BYTES", 100_000)
    (entry,) = entries(packed(tmp_path / "a.zip", {"a.png": bytes(900_000)}, zipfile.ZIP_STORED))
    assert (len(entry.data), entry.size) == (100_001, 900_000)


def test_too_much_in_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2_500_000)
    content = {f"{i}.png": bytes(1_000_000) for i in range(3)}
    assert refused(packed(tmp_path / "a.zip", content, zipfile.ZIP_STORED), "3 MB", "2 MB").code == "zip_too_large"


def test_twenty_thousand_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for number in range(20_000):
            made.writestr(zipfile.ZipInfo(f"{number}.png"), b"")
    assert refused(path, "20000 entries", "10000").code == "zip_too_many_entries"


def test_a_huge_list_of_entries_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "a.zip", {f"{i:060}.png": b"" for i in range(100)})
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 5_000)
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *a: pytest.fail("an entry was read"))
    assert refused(path, "too many entries").code == "zip_too_many_entries"


@pytest.mark.parametrize("kind", ["an end within the end", "a comment", "zip64"])
def test_no_end_of_an_archive_hides_a_huge_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Whoever read the end another way than zipfile was told of a short list, or of none: a list of 600 MB would have
    become gigabytes of entries."""
    path = packed(tmp_path / "a.zip", {f"{i:060}.png": b"" for i in range(100)})
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    if kind == "an end within the end":  # the offset of the list counts for nothing: its place follows from its size
        data[-6:-2] = b"PK\x05\x06"
    elif kind == "a comment":
        data[-2:] = struct.pack("<H", 4)
        data += b"note"
    else:
        size = len(data) - 22 - start
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 100, 100, size, start)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1)
        data[-22:] = record + locator + data[-22:-10] + struct.pack("<LLH", 0, 0, 0)
    path.write_bytes(bytes(data))
    assert len(list(entries(path))) == 100
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 5_000)
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *a: pytest.fail("an entry was read"))
    assert refused(path, "too many entries").code == "zip_too_many_entries"


def test_a_name_that_comes_twice_is_used_once_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.png", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a.png", b"second")
        made.writestr("A.png", b"other case")
    found = list(entries(path, "cats.zip"))
    assert [entry.data for entry in found] == [b"first", b"", b"other case"]
    assert found[1].error is not None
    assert "'a.png' stands twice in the archive 'cats.zip'" in found[1].error.message


def test_a_wrong_checksum_refuses_that_entry_alone(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": b"aaaa" * 99, "b.png": b"good"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"aaaaaaaa", b"aaaabaaa", 1))
    bad, good = entries(path)
    assert bad.error is not None
    assert bad.error.code == "zip_entry_broken"
    assert good.data == b"good"


def test_locked_archives_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    assert refused(path, "'a.png'", "password").code == "zip_locked"


def test_other_ways_of_packing_are_refused(tmp_path: Path) -> None:
    assert refused(packed(tmp_path / "a.zip", {"a.png": b"x" * 99}, zipfile.ZIP_LZMA), "'a.png'").code == "zip_method"


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x03\x04" + bytes(40), zlib.compress(b"x")])
def test_what_is_no_zip_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert refused(path, "damaged or no zip").code == "zip_broken"


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": bytes(range(256)) * 40})
    path.write_bytes(path.read_bytes()[:-30])
    assert refused(path).code == "zip_broken"


def test_overlapping_entries_do_not_multiply(tmp_path: Path) -> None:
    """Many list entries that point at one packed stream (the trick of a "better zip bomb") give it out once at most."""
    path = packed(tmp_path / "a.zip", {"0.png": b"k" * 500_000})
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    one = data[start : data.index(b"PK\x05\x06")]
    many = b"".join(one.replace(b"0.png", b"%d.png" % number) for number in range(10))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 10, 10, len(many), start, 0)
    path.write_bytes(data[:start] + many + end)
    found = list(entries(path))
    assert sum(entry.error is None for entry in found) == 1
    assert sum(len(entry.data) for entry in found) == 500_000


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    """One flipped bit in a Chinese name raised what nobody caught: the page said "report it", the command line ended
    with a traceback."""
    path = packed(tmp_path / "a.zip", {"猫.png": b"cat", "b.png": b"good"}, zipfile.ZIP_STORED)
    whole, name = path.read_bytes(), "猫.png".encode()
    local, listed = whole.index(name), whole.rindex(name)
    assert local < listed
    path.write_bytes(whole[:listed] + b"\xff" + whole[listed + 1 :])
    assert refused(path, "damaged or no zip").code == "zip_broken"
    path.write_bytes(whole[:local] + b"\xff" + whole[local + 1 :])
    bad, good = entries(path, "cats.zip")
    assert bad.error is not None
    assert "'猫.png' in the archive 'cats.zip' is damaged" in bad.error.message
    assert good.data == b"good"


def test_an_entry_without_a_name_is_told(tmp_path: Path) -> None:
    """zipfile ends a name at NUL, and then looks at the last character of the empty rest."""
    path = packed(tmp_path / "a.zip", {"xxxxx": b"cat"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"xxxxx", b"\0.png"))
    assert refused(path, "damaged or no zip").code == "zip_broken"


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_is_told_or_read_and_nothing_else(method: int, hits: list[tuple[float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = {"猫/1.png": b"one" * 9, "猫/1.txt": "猫耳".encode(), "b.png": b"two"}
        path = packed(Path(folder) / "a.zip", content, method)
        data = bytearray(path.read_bytes())
        for place, value in hits:
            data[int(place * (len(data) - 1))] = value
        path.write_bytes(bytes(data))
        sentences = []
        try:
            sentences = [entry.error.message for entry in entries(path, "cats.zip") if entry.error is not None]
        except DatasetError as error:
            sentences = [error.message]
        assert all("'cats.zip'" in sentence for sentence in sentences)
