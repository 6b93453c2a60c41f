"""`lora_studio.settings`: order of sources, sentences for bad values, the loopback rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_studio.cli.follow import opened
from lora_studio.errors import InvalidInput, NotAllowed
from lora_studio.settings import Settings, allowed_of, default_assets, default_workspace, is_loopback, load_settings
from lora_studio.types import JobSpec, Limits


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the person who runs the tests: an empty folder and no variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("LORA_STUDIO_"):
            monkeypatch.delenv(name)


def test_defaults_are_for_one_person_on_their_own_machine() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.base) == ("127.0.0.1", 7860, "embedded")
    assert (settings.device, settings.dtype, settings.threads) == ("auto", "auto", 0)
    assert settings.open_browser
    assert not settings.offline
    assert settings.workspace.is_absolute()


def test_given_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lora-studio.toml").write_text('port = 8001\nbase = "from-file"\ndevice = "cpu"\n', encoding="utf-8")
    monkeypatch.setenv("LORA_STUDIO_PORT", "8002")
    monkeypatch.setenv("LORA_STUDIO_BASE", "from-env")
    settings = load_settings(port=8003, base=None)
    assert (settings.port, settings.base, settings.device, settings.dtype) == (8003, "from-env", "cpu", "auto")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings(workspace="here").workspace == tmp_path / "here"
    assert load_settings(workspace="~/there").workspace == tmp_path / "home" / "there"


def test_default_workspace_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr("lora_studio.settings.sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_workspace() == tmp_path / "lora-studio"
    monkeypatch.setattr("lora_studio.settings.sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_workspace() == tmp_path / "local" / "lora-studio"
    monkeypatch.setattr("lora_studio.settings.sys.platform", "darwin")
    assert default_workspace().parts[-3:] == ("Library", "Application Support", "lora-studio")


def test_assets_lie_beside_the_package_or_in_it_where_pip_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_studio.settings.__file__", str(tmp_path / "lora_studio" / "settings.py"))
    assert default_assets() == tmp_path / "assets"
    (tmp_path / "lora_studio" / "assets").mkdir(parents=True)
    assert default_assets() == tmp_path / "lora_studio" / "assets"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_is_allowed(host: str) -> None:
    assert is_loopback(host)
    assert load_settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "127.0.0.1.evil.example"])
def test_other_hosts_are_refused_and_told_why(host: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        load_settings(host=host)
    assert repr(host) in caught.value.message
    assert "no accounts yet" in caught.value.message
    assert caught.value.code == "host_not_loopback"


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "abc"), ("port", 0), ("port", 70000), ("device", "tpu"), ("dtype", "int4"), ("threads", -1)],
)
def test_a_bad_value_is_named(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings(**{name: value})
    assert name in caught.value.message
    assert repr(value) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bad_value_names_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lora-studio.toml").write_text("threads = -3\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"threads in lora-studio.toml was given as -3"):
        load_settings()
    monkeypatch.setenv("LORA_STUDIO_THREADS", "many")
    with pytest.raises(InvalidInput, match=r"LORA_STUDIO_THREADS was given as 'many'"):
        load_settings()


def test_unknown_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lora-studio.toml").write_text("devise = 'cpu'\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="no setting 'devise'"):
        load_settings()
    (tmp_path / "lora-studio.toml").unlink()
    monkeypatch.setenv("LORA_STUDIO_DEVISE", "cpu")
    with pytest.raises(InvalidInput, match="no setting 'LORA_STUDIO_DEVISE'"):
        load_settings()


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "lora-studio.toml").write_text("port = = 1\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"lora-studio.toml.*TOML"):
        load_settings()


def test_every_setting_has_a_doc_line() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_what_a_setting_may_be_is_what_is_refused_otherwise() -> None:
    """Words in the table of settings that the check would not take, or the other way round, would mislead."""
    for name in ("device", "dtype", "prediction_type", "zero_terminal_snr"):
        for word in allowed_of(name).split(", "):
            assert getattr(load_settings(**{name: word}), name) == word
    for name in ("port", "threads", "download_megabytes"):
        least, most = map(int, allowed_of(name).split(" to "))
        assert [getattr(load_settings(**{name: value}), name) for value in (least, most)] == [least, most]
        for value in (least - 1, most + 1):
            with pytest.raises(InvalidInput):
                load_settings(**{name: value})


def test_folders_of_loras_are_given_as_a_path_list_or_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().lora_folders == ()
    (tmp_path / "lora-studio.toml").write_text('lora_folders = ["a", "/b c"]\n', encoding="utf-8")
    assert load_settings().lora_folders == (tmp_path / "a", Path("/b c"))
    monkeypatch.setenv("LORA_STUDIO_LORA_FOLDERS", f"/x{os.pathsep}/y, z{os.pathsep}/x")
    assert load_settings().lora_folders == (Path("/x"), Path("/y, z"))
    assert load_settings(lora_folders=(Path("z"),)).lora_folders == (tmp_path / "z",)


def test_nothing_is_fetched_unless_the_operator_says_from_where(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert (settings.download_hub, settings.download_hosts) == (False, ())
    monkeypatch.setenv("LORA_STUDIO_DOWNLOAD_HOSTS", "Civitai.com, *.example.org")
    assert load_settings().download_hosts == ("civitai.com", "*.example.org")
    for bad in ("https://civitai.com", "localhost", "civitai.com/x", "*", "*.*.org", "a b.org", "civitai.com:443"):
        with pytest.raises(InvalidInput, match="host names like"):
            load_settings(download_hosts=(bad,))


def test_limits_are_off_for_one_person_and_reach_the_workspace(tmp_path: Path) -> None:
    """All but the free space that a training needs; whoever shares a machine sets them."""
    assert load_settings().limits == Limits(jobs=0, megabytes=0, free_megabytes=500)
    given = {"workspace": tmp_path / "w", "assets": tmp_path / "none", "min_free_megabytes": 0}
    settings = load_settings(max_jobs=1, max_megabytes=7, **given)
    assert settings.limits == Limits(jobs=1, megabytes=7)
    with opened(settings) as workspace:
        workspace.jobs.create(JobSpec("a", "generate", "ann", {}))
        with pytest.raises(NotAllowed, match="1 of your jobs"):
            workspace.jobs.create(JobSpec("b", "generate", "ann", {}))
    with pytest.raises(InvalidInput, match="max_jobs"):
        load_settings(max_jobs=-1)
