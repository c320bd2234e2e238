"""Controllers: asked once a sample, answer `Control(messages, edit)`. One controller a file, named after the file."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from emobench.registry import unknown
from emobench.resources import file_hash, shipped
from emobench.types import Control, Sample, UserError

if TYPE_CHECKING:
    from emobench.discovery.artifact import Artifact


@runtime_checkable
class Controller(Protocol):
    """What a controller is: parameters as dataclass fields, and one method."""

    def control(self, sample: Sample, setting: Setting) -> Control:
        """The messages to send for this sample and the edit to make while the model replies."""
        ...


class Setting:
    """What a controller may know of the model it controls.

    Attributes:
        n_layers: number of layers.
        d_model: width of the residual stream.
        seed: the run's seed, for controllers that draw at random.
        strengths: what `strength` has answered, by emotion, with where it came from; goes into the record.
    """

    def __init__(
        self, controller: str, n_layers: int, d_model: int, seed: int, find_artifact: Callable[[], Artifact]
    ) -> None:
        self.n_layers, self.d_model, self.seed = n_layers, d_model, seed
        self.strengths: dict[str, dict[str, Any]] = {}
        self._controller, self._find_artifact = controller, find_artifact

    @cached_property
    def artifact(self) -> Artifact:
        """What discovery found in this model (directions, circuit); a UserError where there is none."""
        return self._find_artifact()

    def strength(self, given: float | None, sample: Sample, otherwise: float) -> float:
        """The strength to use: the given parameter, else the one chosen on validation, else ``otherwise``."""
        tuned = self.artifact.strengths.get(self._controller)
        if given is not None:
            value, origin = given, "set"
        elif tuned:
            value, origin = tuned["chosen"][sample.target], f"chosen on {tuned['task']['name']}"
        else:
            value, origin = otherwise, "the controller's own"
        self.strengths[sample.target] = {"value": value, "origin": origin}
        return value

    @property
    def used_artifact(self) -> Artifact | None:
        """The artifact, if the controller has asked for it."""
        return self.__dict__.get("artifact")


_MARK = "_emobench_controller"


def controller(cls: type) -> type:
    """Class decorator: makes a frozen dataclass of the class and marks it as the file's controller.

    The controller is named after its file. Its fields are its parameters; ``--set NAME.FIELD=VALUE`` sets them.
    """
    if not callable(getattr(cls, "control", None)):
        raise TypeError(f"{cls.__name__} has no method control(self, sample, setting)")
    cls = dataclasses.dataclass(frozen=True)(with_config(ConfigDict(extra="forbid"))(cls))
    setattr(cls, _MARK, True)
    return cls


def strength_field(grid: Sequence[float]) -> Any:
    """A ``strength`` parameter: None takes the one chosen on validation; ``emobench tune`` tries those of ``grid``."""
    return dataclasses.field(default=None, metadata={"grid": tuple(grid)})


def strength_grid(cls: type) -> tuple[float, ...] | None:
    """The strengths that ``tune`` tries for a controller; None if it has no strength."""
    return next((f.metadata["grid"] for f in dataclasses.fields(cls) if "grid" in f.metadata), None)


def tuning_grid(name: str) -> tuple[float, ...]:
    """The strengths to try for a controller.

    Raises:
        UserError: it has no strength to choose.
    """
    grid = strength_grid(type(load_controller(name).instance))
    if grid is None:
        raise UserError(f"the controller {name} has no strength, so there is nothing to tune.")
    return grid


@dataclasses.dataclass(frozen=True)
class Named:
    """A controller with the name it has in tables and the file it came from."""

    name: str
    label: str
    instance: Controller
    file: Path

    def identity(self, setting: Setting) -> dict[str, Any]:
        """What determines its answers: name, parameters, source and, if used, the artifact and strengths."""
        artifact = setting.used_artifact
        return {
            "name": self.name,
            "parameters": dataclasses.asdict(self.instance),  # type: ignore[call-overload]
            "source": file_hash(self.file),
            "artifact": artifact.hash if artifact else None,
            "strengths": dict(sorted(setting.strengths.items())),
        }


def controller_files() -> dict[str, Path]:
    """The built-in controllers' files, by name."""
    return {path.stem: path for path in sorted(shipped("baselines").glob("*.py"))}


def load_controller(name: str, parameters: Mapping[str, str] | None = None) -> Named:
    """A built-in controller by name, or a user's own by the path of its file.

    A user's file is run only because the user named it.

    Raises:
        UserError: unknown name; a file that does not exist, does not load or defines no controller; a parameter that
            the controller does not have or that has the wrong type.
    """
    known = controller_files()
    file = known.get(name)
    if file is None:
        if not name.endswith(".py"):
            raise unknown("controller", name, known, "or give the path of a .py file that defines one")
        file = Path(name)
        if not file.is_file():
            raise UserError(f"there is no controller file {name}; check the path.")
        if file.stem in known and file.resolve() != known[file.stem].resolve():
            raise UserError(f"{name} has the name of the built-in controller {file.stem!r}; rename the file.")
    cls = _controller_class(file)
    instance = _build(cls, file.stem, parameters or {})
    changed = [
        f"{f.name}={getattr(instance, f.name)}"
        for f in dataclasses.fields(cls)
        if getattr(instance, f.name) != f.default
    ]
    label = f"{file.stem}[{','.join(changed)}]" if changed else file.stem
    return Named(file.stem, label, instance, file)


def _controller_class(file: Path) -> Any:
    module_name = f"emobench._controllers.{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their own module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"the controller file {file} does not load: {type(error).__name__}: {error}") from error
    found = [v for v in vars(module).values() if isinstance(v, type) and v.__dict__.get(_MARK)]
    if len(found) != 1:
        raise UserError(
            f"{file} defines {len(found) or 'no'} controllers; mark exactly one class with @emobench.controller "
            "(the README shows one whole)."
        )
    return found[0]


def _build(cls: Any, name: str, parameters: Mapping[str, str]) -> Controller:
    fields = [f.name for f in dataclasses.fields(cls)]
    for parameter in parameters:
        if parameter not in fields:
            if not fields:
                raise UserError(f"{name} has no parameters, so {parameter!r} cannot be set; leave it out.")
            raise unknown(f"parameter of {name}", parameter, fields)
    try:
        return TypeAdapter(cls).validate_python(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
        place = next((str(part) for part in first["loc"] if part in fields), "?")
        raise UserError(
            f"parameter {name}.{place} cannot be {first['input']!r}: {first['msg'].lower()}; give another value."
        ) from None


def controller_name(given: str) -> str:
    """What a controller is called, given its name or the path of its file."""
    return Path(given).stem if given.endswith(".py") else given


def parse_settings(settings: Sequence[str], controllers: Sequence[str]) -> dict[str, dict[str, str]]:
    """``["circuit.strength=3"]`` -> ``{"circuit": {"strength": "3"}}``.

    Raises:
        UserError: not of that form, or for a controller that is not asked for.
    """
    names = [controller_name(given) for given in controllers]
    parsed: dict[str, dict[str, str]] = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, dot, parameter = target.partition(".")
        if not (equals and dot and name and parameter):
            raise UserError(f"--set {setting!r} is not of the form CONTROLLER.PARAMETER=VALUE, as circuit.strength=3.")
        if name not in names:
            raise unknown("controller in --set", name, names)
        parsed.setdefault(name, {})[parameter] = value
    return parsed
