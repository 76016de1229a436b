"""The settings of this machine: flags over environment (KERNELWRIGHT_*) over ~/.config/kernelwright/config.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


def _xdg(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "kernelwright"


def config_file() -> Path:
    """Where the settings file lies, whether or not it exists."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "config.toml"


class Settings(BaseSettings):
    """What can be set; every field has a default that works for one user on one machine."""

    model_config = SettingsConfigDict(env_prefix="KERNELWRIGHT_", extra="ignore")

    host_python: Path = Field(
        default_factory=lambda: Path(sys.executable), description="the Python that the user's torch lives in"
    )
    roots: list[Path] = Field(default_factory=list, description="directories that may hold projects, beside the current one")
    state_dir: Path = Field(default_factory=lambda: _xdg("XDG_STATE_HOME", ".local/state"), description="jobs and workspaces")
    cache_dir: Path = Field(
        default_factory=lambda: _xdg("XDG_CACHE_HOME", ".cache"), description="compiled objects, measured facts"
    )
    token: SecretStr | None = Field(None, description="bearer token of the HTTP server")
    token_file: Path | None = Field(None, description="file that holds the bearer token")
    allowed_hosts: list[str] = Field(
        default_factory=list, description="Host headers the HTTP server answers to, beside loopback"
    )
    max_body_bytes: int = Field(4 << 20, description="largest HTTP request body")
    compile_slots: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2), description="jobs that run beside each other"
    )
    keep_jobs: int = Field(200, description="finished jobs kept on disk")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file())

    @property
    def jobs_dir(self) -> Path:
        return self.state_dir / "jobs"

    @property
    def workspaces_dir(self) -> Path:
        return self.state_dir / "workspaces"

    def bearer_token(self) -> str | None:
        """The token that HTTP clients must send, or None when there is none."""
        if self.token is not None:
            return self.token.get_secret_value()
        if self.token_file is not None:
            return self.token_file.read_text().strip() or None
        return None
