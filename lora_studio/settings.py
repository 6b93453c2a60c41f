"""Environment, file and command line become one `Settings` object.

Order, strongest first: what a caller gives (the command line), environment variables `LORA_STUDIO_*`, the file
`lora-studio.toml` in the current folder, the defaults below. Every setting carries its own doc line and range; the
help of its option and the table in `docs/reference.md` come from them. An unknown name in the file or the environment
is refused, never ignored.

It does not know the engine, the store or the screens, and it touches no folder: whoever uses a path makes it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from lora_studio.errors import InvalidInput, NotAllowed
from lora_studio.types import BaseChoice, Limits

PREFIX = "LORA_STUDIO_"
FILE = "lora-studio.toml"
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


_KINDS = {"int_parsing": "a whole number", "int_from_float": "a whole number", "bool_parsing": "true or false"}
"""Our words for what pydantic says of values of the wrong kind."""

_SEVERAL = {
    "lora_folders": "a list; in the environment apart by : (on Windows by ;)",
    "download_hosts": "a list; in the environment apart by commas",
}
"""Settings that hold several values, and how they are told apart in one text."""


def default_workspace() -> Path:
    """Where everything that must survive lies when nobody says otherwise.

    Linux: `$XDG_DATA_HOME/lora-studio` or `~/.local/share/lora-studio`; macOS: `~/Library/Application
    Support/lora-studio`; Windows: `%LOCALAPPDATA%\\lora-studio`; a Hugging Face Space, where the command
    line works and the page does not: `/data/lora-studio` when its persistent disk can be written to.
    """
    if os.environ.get("SPACE_ID") and os.access("/data", os.W_OK):
        return Path("/data/lora-studio")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lora-studio"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "lora-studio"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lora-studio"


def default_assets() -> Path:
    """The embedded base and the examples: the folder `assets` beside the package, or in it where pip installed it."""
    package = Path(__file__).resolve().parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent / "assets"


class Settings(BaseSettings):
    """What a process is told when it starts; frozen from then on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, toml_file=FILE, frozen=True, extra="forbid", validate_default=True
    )

    workspace: Path = Field(
        default_factory=default_workspace, description="Folder of everything that is kept: pictures, LoRAs, notebooks."
    )
    lora_folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders of LoRA files to read in place, like A1111's models/Lora; nothing in them is changed.",
    )
    download_hub: bool = Field(False, description="Let people fetch LoRAs from Hugging Face into the library.")
    download_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Hosts from which people may fetch LoRAs by https; *.example.org stands for all below it."
    )
    download_megabytes: int = Field(2000, ge=1, le=100_000, description="Largest LoRA file that is fetched, in MB.")
    max_jobs: int = Field(
        0, ge=0, le=100_000, description="Jobs of one person that may wait or run at once; 0 is any number."
    )
    max_megabytes: int = Field(
        0, ge=0, le=1_000_000_000, description="MB that one person's files may take in the workspace; 0 is any amount."
    )
    min_free_megabytes: int = Field(
        500,
        ge=0,
        le=1_000_000_000,
        description="MB that must be free on the workspace's disk before a training or a download is begun.",
    )
    host: str = Field("127.0.0.1", description="Address the page is served on; only this machine's own are allowed.")
    port: int = Field(7860, ge=1, le=65535, description="Port the page is served on.")
    base: str = Field(
        "embedded", description="The base model: embedded, a folder, a .safetensors file, or a Hugging Face id."
    )
    prediction_type: Literal["auto", "epsilon", "v_prediction"] = Field(
        "auto", description="What the base was trained to predict; auto finds out where its files tell it."
    )
    zero_terminal_snr: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether the base's noise schedule ends in pure noise (zero terminal SNR); auto finds out."
    )
    checkpoints: Path | None = Field(
        None, description="Folder of .safetensors checkpoints to choose from, like A1111's models/Stable-diffusion."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where the base runs; auto probes.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the base's weights; auto probes what the device is fast at."
    )
    threads: int = Field(0, ge=0, le=1024, description="Processor threads for the base; 0 chooses.")
    offline: bool = Field(False, description="Never ask the network for anything.")
    open_browser: bool = Field(True, description="Open the page in a browser when the app starts.")
    assets: Path = Field(default_factory=default_assets, description="Folder of the embedded base and the examples.")

    @property
    def base_choice(self) -> BaseChoice:
        """The base that the process starts with."""
        return BaseChoice(self.base.strip() or "embedded", self.prediction_type, self.zero_terminal_snr)

    @property
    def limits(self) -> Limits:
        """What one person may take, and what must stay free."""
        return Limits(self.max_jobs, self.max_megabytes, self.min_free_megabytes)

    @field_validator("lora_folders", mode="before")
    @classmethod
    def _several_folders(cls, value: Any) -> Any:
        """One text as several folders, apart as in PATH."""
        return _parts(value, os.pathsep)

    @field_validator("download_hosts", mode="before")
    @classmethod
    def _several_hosts(cls, value: Any) -> Any:
        """One text as several hosts, apart by commas."""
        return _parts(value, ",")

    @field_validator("lora_folders")
    @classmethod
    def _all_absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        """`~` and relative paths as absolute ones, each once."""
        return tuple(dict.fromkeys(Path(os.path.abspath(folder.expanduser())) for folder in value))

    @field_validator("download_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Names of hosts alone, in small letters."""
        for host in value:
            if not _HOST.fullmatch(host.strip()):
                raise ValueError("host names like example.org or *.example.org, without https:// and paths")
        return tuple(host.strip().lower() for host in value)

    @field_validator("workspace", "assets", "checkpoints")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """`~` and relative paths as absolute ones, so that a later change of folder changes nothing."""
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        """Refuse every address that others could reach."""
        if not is_loopback(value):
            raise NotAllowed(
                f"The host {value!r} could be reached from other machines, and there are no accounts yet that would "
                "keep people's pictures apart; allowed are 127.0.0.1, localhost and ::1; use one of these.",
                code="host_not_loopback",
                given=value,
                allowed="127.0.0.1, localhost, ::1",
            )
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values, then the environment, then the file (pydantic-settings' hook)."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def _parts(value: Any, sign: str) -> Any:
    """A text cut at each `sign`; anything else as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(sign) if part.strip())


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses of this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(**given: Any) -> Settings:
    """`Settings` from what is given, the environment and the file; None means "not given".

    Raises:
        InvalidInput: a value or a name that is not allowed, with the value in the sentence.
        NotAllowed: a host that other machines could reach.
    """
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name[len(PREFIX) :].lower() not in Settings.model_fields
    )
    if unknown:
        raise _unknown(unknown[0], "the environment", [PREFIX + name.upper() for name in Settings.model_fields])
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as problem:
        raise _sentence(problem, given) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            f"The file {FILE!r} is not readable as TOML ({problem}); mend or remove it.",
            code="settings_file",
            given=FILE,
            reason=str(problem),
        ) from None


def allowed_of(name: str) -> str:
    """The values that a setting may have, in words: `auto, cpu`, `1 to 65535`; "" where its doc line says it."""
    field = Settings.model_fields[name]
    if typing.get_origin(field.annotation) is Literal:
        return ", ".join(typing.get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    if name in _SEVERAL:
        return _SEVERAL[name]
    bounds = [getattr(rule, kind, None) for kind in ("ge", "le") for rule in field.metadata]
    return " to ".join(str(bound) for bound in bounds if bound is not None)


def _sentence(problem: ValidationError, given: dict[str, Any]) -> InvalidInput:
    """The first complaint of pydantic in our words."""
    first = problem.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if first["type"] == "extra_forbidden":
        return _unknown(name, f"the file {FILE}", list(Settings.model_fields))
    allowed = _KINDS.get(first["type"], first["msg"].removeprefix("Input should be ").removeprefix("Value error, "))
    where = name
    if given.get(name) is None:
        where = f"{PREFIX}{name.upper()}" if f"{PREFIX}{name.upper()}" in os.environ else f"{name} in {FILE}"
    return InvalidInput(
        f"The setting {where} was given as {first['input']!r}; it must be {allowed}; change it and try again.",
        code="setting_value",
        field=name,
        given=str(first["input"]),
        allowed=allowed,
    )


def _unknown(name: str, source: str, known: list[str]) -> InvalidInput:
    return InvalidInput(
        f"There is no setting {name!r} (found in {source}); allowed are {', '.join(known)}; remove or rename it.",
        code="setting_unknown",
        given=name,
        allowed=", ".join(known),
    )
