"""What may be fetched and from where: everything else is refused by name, before anybody is asked."""

from __future__ import annotations

import json

import pytest

from lora_studio.engine.sources import NOTHING, Policy, choose, file_name, file_url, policy_of, read_source
from lora_studio.errors import InvalidInput, NotAllowed, NotFound, StudioError
from lora_studio.settings import Settings

OPEN = Policy(hub=True, hosts=("civitai.com", "*.example.org"))


@pytest.mark.parametrize(
    ("text", "url", "repository"),
    [
        ("owner/repo", "", "owner/repo"),
        (" latent-consistency/lcm-lora-sdv1-5 ", "", "latent-consistency/lcm-lora-sdv1-5"),
        ("o/r:sub/a b.safetensors", "https://huggingface.co/o/r/resolve/main/sub/a%20b.safetensors", ""),
        (
            "https://huggingface.co/o/r/blob/main/x.safetensors",
            "https://huggingface.co/o/r/resolve/main/x.safetensors",
            "",
        ),
        (
            "https://civitai.com/api/download/models/1?type=Model",
            "https://civitai.com/api/download/models/1?type=Model",
            "",
        ),
        ("https://cdn.example.org:443/x.safetensors", "https://cdn.example.org/x.safetensors", ""),
        ("https://CIVITAI.com/x", "https://civitai.com/x", ""),
    ],
)
def test_what_is_understood(text: str, url: str, repository: str) -> None:
    found = read_source(text, OPEN)
    assert (found.url, found.repository) == (url, repository)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("http://civitai.com/x", "download_source"),
        ("ftp://civitai.com/x", "download_source"),
        ("file:///etc/passwd", "download_source"),
        ("https://user:word@civitai.com/x", "download_source"),
        ("https://civitai.com:8443/x", "download_source"),
        ("https://civitai.com/a b\nHost: evil", "download_source"),
        ("https://[::1/x", "download_source"),
        ("https://evil.com/x", "download_host"),
        ("https://civitai.com.evil.com/x", "download_host"),
        ("https://evilcivitai.com/x", "download_host"),
        ("https://example.org/x", "download_host"),
        ("https://127.0.0.1/x", "download_host"),
        ("https://localhost/x", "download_host"),
        ("https://169.254.169.254/latest/meta-data", "download_host"),
        ("owner", "download_source"),
        ("a/b/c", "download_source"),
        ("../../etc/passwd", "download_source"),
        ("", "download_source"),
        ("o/r:../x.safetensors", "adapter_suffix"),
        ("o/r:x.ckpt", "adapter_suffix"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(StudioError) as caught:
        read_source(text, OPEN)
    assert caught.value.code == code


def test_nothing_is_fetched_where_nothing_is_allowed() -> None:
    for text in ("owner/repo", "https://huggingface.co/x.safetensors", "nonsense"):
        with pytest.raises(NotAllowed, match="switched off"):
            read_source(text, NOTHING)


def test_each_kind_is_allowed_by_itself() -> None:
    with pytest.raises(NotAllowed, match=r"civitai\.com"):
        read_source("owner/repo", Policy(hosts=("civitai.com",)))
    with pytest.raises(NotAllowed, match=r"huggingface\.co"):
        read_source("https://civitai.com/x", Policy(hub=True))
    assert Policy(hub=True).allows("cdn-lfs.huggingface.co")
    assert Policy(hub=True).allows("cas-bridge.xethub.hf.co")
    assert not Policy(hub=True).allows("hf.co.evil.com")


def test_settings_say_what_is_allowed_and_offline_says_nothing() -> None:
    assert policy_of(Settings()) == NOTHING
    wide = Settings(download_hub=True, download_hosts="Civitai.com, *.example.org", download_megabytes=5)
    assert policy_of(wide) == Policy(True, ("civitai.com", "*.example.org"), 5_000_000)
    assert policy_of(Settings(download_hub=True, offline=True)) == NOTHING


def listed(*names: str) -> bytes:
    return json.dumps({"siblings": [{"rfilename": name} for name in names]}).encode()


def test_the_only_file_of_a_repository_is_meant() -> None:
    assert choose("o/r", listed("README.md", "x.safetensors", "y.png")) == "x.safetensors"
    assert choose("o/r", listed("a.safetensors", "pytorch_lora_weights.safetensors")) == (
        "pytorch_lora_weights.safetensors"
    )
    with pytest.raises(InvalidInput, match=r"o/r:a\.safetensors") as caught:
        choose("o/r", listed("b.safetensors", "a.safetensors"))
    assert caught.value.values["near"] == ["a.safetensors", "b.safetensors"]
    for answer in (listed("README.md"), b"", b"[]", b"{}", b'{"siblings": 3}', b"[" * 9999):
        with pytest.raises(NotFound, match=r"no \.safetensors"):
            choose("o/r", answer)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="cat ears.safetensors"', "cat ears.safetensors"),
        ("attachment; filename*=UTF-8''%E7%8C%AB.safetensors", "猫.safetensors"),
        ('attachment; filename="../../x.safetensors"', "x.safetensors"),
        ("", "a b.safetensors"),
    ],
)
def test_names_of_files_are_no_paths(header: str, name: str) -> None:
    assert file_name("https://h/p/a%20b.safetensors?x=1", {"content-disposition": header}) == name


def test_a_name_without_an_end() -> None:
    assert file_name("https://h/", {}) == "LoRA"
    assert file_url("o/r", "a#?.safetensors") == "https://huggingface.co/o/r/resolve/main/a%23%3F.safetensors"
