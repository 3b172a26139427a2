"""The one configuration of the daemon and the commands: every layer's settings, composed; read from TOML, environment and command line.

What wins, last first: the embedded defaults, the file, variables such as TRICHOSCOPE_SERVER__PORT, the command line. The file is
the one of --config, else $TRICHOSCOPE_CONFIG, else /etc/trichoscope/trichoscope.toml where that exists, else none.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from calib.settings import CalibrationSettings
from device.settings import CameraSettings, HandpieceSettings
from runtime.analysis.settings import AnalysisSettings
from runtime.bundles.settings import ModelsSettings
from runtime.errors import ConfigError
from runtime.inference.settings import InferenceSettings
from runtime.intended_use.settings import UseSettings
from runtime.store.settings import StoreSettings
from runtime.toml_text import KeyPath, TomlTextError, key_lines, line_of, parse_toml

SYSTEM_FILE = Path("/etc/trichoscope/trichoscope.toml")
FILE_VARIABLE = "TRICHOSCOPE_CONFIG"
VARIABLE_PREFIX = "TRICHOSCOPE_"  # then TABLE, two underscores, KEY; variables without the two underscores are not settings
MAX_FILE_BYTES = 64 * 1024  # the whole schema with every description is a tenth of this


class ServerSettings(BaseModel):
    """The `[server]` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", description="loopback address of the page: 127.0.0.1, ::1 or localhost; it has no log-in")
    port: int = Field(default=8420, ge=0, le=65535, description="TCP port of the page; 0 takes a free one")
    max_clients: int = Field(default=8, ge=1, le=64, description="pages with a live picture at the same time; more are refused")

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if host in ("127.0.0.1", "::1", "localhost"):  # the names that the guard answers to
            return host
        raise ValueError("the page has no log-in and is for this machine alone: use 127.0.0.1, ::1 or localhost")


class SupervisionSettings(BaseModel):
    """The `[supervision]` table. All times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    analysis_deadline_s: float = Field(
        default=20.0, gt=0, le=600, description="an analysis that takes longer than this is stuck: the watchdog is no longer fed"
    )
    store_deadline_s: float = Field(
        default=20.0, gt=0, le=600, description="a write to the store that takes longer than this is stuck: the watchdog is no longer fed"
    )
    store_probe_s: float = Field(default=15.0, ge=1, le=600, description="how often the store is tried with a small real write")
    restart_budget: int = Field(
        default=5, ge=0, le=1000, description="restarts of a failed part within restart_window_s; one more ends the daemon"
    )
    restart_window_s: float = Field(default=300.0, ge=1, le=86_400, description="the window in which restarts are counted")
    restart_delay_s: float = Field(default=0.5, ge=0, le=60, description="wait before the first restart; doubled for each that follows")
    max_restart_delay_s: float = Field(default=10.0, ge=0, le=600, description="longest wait before a restart")
    stop_deadline_s: float = Field(default=1.5, gt=0, le=60, description="time the parts have to end when the daemon is told to stop")


class Settings(BaseModel):
    """The whole configuration, a table for each concern. `Settings()` are the embedded defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="trichoscope.toml")

    camera: CameraSettings = Field(default_factory=CameraSettings, description="which microscope, and how it is read")
    handpiece: HandpieceSettings = Field(default_factory=HandpieceSettings, description="which range sensor, light and button, if any")
    calibration: CalibrationSettings = Field(default_factory=CalibrationSettings, description="from pixels to µm")
    analysis: AnalysisSettings = Field(default_factory=AnalysisSettings, description="how a frame is measured")
    use: UseSettings = Field(default_factory=UseSettings, description="what the kiosk is for, which decides on words and roles")
    inference: InferenceSettings = Field(default_factory=InferenceSettings, description="what runs the networks")
    store: StoreSettings = Field(default_factory=StoreSettings, description="where captures are kept")
    models: ModelsSettings = Field(
        default_factory=ModelsSettings, description="which bundles of networks may be installed, and their trial"
    )
    server: ServerSettings = Field(default_factory=ServerSettings, description="where the page is served")
    supervision: SupervisionSettings = Field(default_factory=SupervisionSettings, description="when a part counts as stuck, and what then")

    @property
    def profiles_folder(self) -> Path:
        """Where the calibration profiles are: `calibration.folder`, else `profiles` in the state folder."""
        return self.calibration.folder or self.store.folder / "profiles"

    @property
    def models_folder(self) -> Path:
        """Where installed bundles are: `models` in the state folder."""
        return self.store.folder / "models"

    @property
    def engines_folder(self) -> Path:
        """Where TensorRT engines are: `engines` in the state folder."""
        return self.store.folder / "engines"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the configuration.

    Attributes:
        where: the file, the environment variable or "command line".
        line: line in the file, from 1; None where there is none.
        key: dotted path of the key, "" for the file as a whole.
        value: the value as written, None where it does not matter.
    """

    where: str
    line: int | None
    key: str
    value: str | None
    what: str
    remedy: str

    def __str__(self) -> str:
        place = self.where if self.line is None else f"{self.where}:{self.line}"
        subject = self.key if self.value is None else f"{self.key} = {self.value}"
        return ": ".join(part for part in (place, subject, self.what, self.remedy) if part)


class InvalidConfigError(ConfigError):
    """The configuration cannot be used; `problems` has everything that is wrong, one by one, `str()` one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def find_file(path: Path | None) -> Path | None:
    """The configuration file to read: `path`, else $TRICHOSCOPE_CONFIG, else the system's where that exists, else None."""
    if path is not None:
        return path
    if named := os.environ.get(FILE_VARIABLE, ""):
        return Path(named)
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings in force.

    Args:
        path: the file of --config, or None to search for one (see `find_file`).
        overrides: dotted key → value, as from the command line, for example {"server.port": 8421}; None values are left out.

    Raises:
        InvalidConfigError: with every problem of file, environment and command line.
    """
    origins: dict[KeyPath, str] = {}
    lines: dict[KeyPath, int] = {}
    values: dict[str, Any] = {}
    file = find_file(path)
    if file is not None:
        text = _read_text(file)
        values = _parse(file, text)
        lines = key_lines(text)
    for variable, keys, value in _from_environment():
        _put(values, keys, value)
        origins[keys] = f"${variable}"
    for key, value in (overrides or {}).items():
        if value is not None:
            keys = tuple(key.split("."))
            _put(values, keys, str(value) if isinstance(value, Path) else value)
            origins[keys] = "command line"
    try:
        return Settings.model_validate(values, strict=True)
    except ValidationError as error:
        problems = []
        for found in error.errors(include_url=False):
            keys = _key_path(found["loc"])
            origin = _origin(origins, keys)
            line = line_of(lines, keys) if origin is None else None
            where = origin or (str(file) if file is not None else "configuration")
            problems.append(_problem(where, line, keys, dict(found)))
        problems.sort(key=lambda p: (p.where, p.line or 0))
        raise InvalidConfigError(problems) from None


def _read_text(file: Path) -> str:
    """The file's text, its size and kind checked before it is read."""

    def refuse(what: str, remedy: str, line: int | None = None) -> InvalidConfigError:
        return InvalidConfigError([Problem(str(file), line, "", None, what, remedy)])

    try:
        if not file.is_file():  # also refuses devices and pipes, which might never end
            if file.exists():
                raise refuse("not a regular file", "name a TOML file")
            raise refuse("no such file", "name an existing file, or leave --config out for the defaults")
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise refuse(f"cannot be read ({reason})", "check its name, owner and mode") from error
    if len(raw) > MAX_FILE_BYTES:
        raise refuse(f"larger than {MAX_FILE_BYTES // 1024} KiB", "this is no configuration file")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refuse("written as UTF-16", "save it as UTF-8")
    raw = raw.removeprefix(b"\xef\xbb\xbf")  # the mark that Windows editors put in front of UTF-8
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise refuse(f"byte 0x{raw[error.start]:02x} is not UTF-8", "save it as UTF-8", line) from error


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except TomlTextError as error:
        remedy = "see https://toml.io for how TOML is written" + (f" (column {error.column})" if error.column else "")
        raise InvalidConfigError([Problem(str(file), error.line, "", None, f"not TOML: {error.what}", remedy)]) from None


def _from_environment() -> list[tuple[str, KeyPath, Any]]:
    """(variable, key path, value) of every TRICHOSCOPE_TABLE__KEY that is set; values are read as TOML, else as plain text."""
    found: list[tuple[str, KeyPath, Any]] = []
    for variable, text in sorted(os.environ.items()):
        keys = variable.removeprefix(VARIABLE_PREFIX).lower().split("__")
        if not variable.startswith(VARIABLE_PREFIX) or len(keys) < 2:
            continue
        found.append((variable, tuple(keys), _variable_value(text)))
    return found


def _variable_value(text: str) -> bool | int | float | str:
    """What a variable's text means: a number or truth value as TOML writes it, anything else as it stands."""
    try:
        parsed = parse_toml(f"value = {text}")
    except TomlTextError:
        return text
    value = parsed["value"] if len(parsed) == 1 else text
    return value if isinstance(value, (bool, int, float, str)) else text


def _put(values: dict[str, Any], keys: KeyPath, value: Any) -> None:
    """Set `value` at the key path, over whatever stood in its way."""
    table: dict[Any, Any] = values
    for key in keys[:-1]:
        if not isinstance(table.get(key), dict):
            table[key] = {}
        table = table[key]
    table[keys[-1]] = value


def _origin(origins: dict[KeyPath, str], path: KeyPath) -> str | None:
    """The variable or command line that set `path`, or the first that set a key below it; None where the file did."""
    if path in origins:
        return origins[path]
    return next((origin for keys, origin in origins.items() if keys[: len(path)] == path), None)


def _key_path(loc: tuple[str | int, ...]) -> KeyPath:
    """Pydantic's location without the tags it adds for the branches of unions and for whole-model validators."""
    path: KeyPath = ()
    for part in loc:
        if isinstance(part, str) and len(path) == 2:
            break  # our tables have no tables inside
        path = (*path, part)
    return path


def _problem(where: str, line: int | None, path: KeyPath, found: dict[str, Any]) -> Problem:
    key = ".".join(map(str, path))
    if found["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
        elsewhere = sorted(f"{t}.{path[-1]}" for t in Settings.model_fields if path[-1] in _known_keys((t,)))
        if near:
            remedy = f"did you mean {'.'.join([*map(str, path[:-1]), near[0]])}?"
        elif elsewhere:
            remedy = f"did you mean {elsewhere[0]}?"
        else:
            remedy = f"known here are {', '.join(known)}" if known else "take it out"
        return Problem(where, line, key, None, "unknown key", remedy)
    message = str(found["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if found["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return Problem(where, line, key, _shown(found["input"]), "not a table", f"write [{key}] and its keys below it")
    whole_table = len(path) < 2
    if found["type"] == "value_error":
        return Problem(where, line, key, None if whole_table else _shown(found["input"]), "not allowed", message)
    return Problem(where, line, key, _shown(found["input"]), "not allowed", f"should be {message}" + _about(path))


def _table_model(table: str) -> type[BaseModel] | None:
    field = Settings.model_fields.get(table)
    model = None if field is None else field.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _known_keys(table: KeyPath) -> list[str]:
    if not table:
        return sorted(Settings.model_fields)
    model = _table_model(str(table[0])) if len(table) == 1 else None
    return [] if model is None else sorted(model.model_fields)


def _about(path: KeyPath) -> str:
    """The field's own description in brackets, or nothing."""
    model = _table_model(str(path[0])) if len(path) == 2 else None
    field = None if model is None else model.model_fields.get(str(path[1]))
    return f" ({field.description})" if field is not None and field.description else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
