"""How a configuration file is read, and how what is wrong with it is said: with the key, and what would be right."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from zonecut.files.regularfile import read_regular


class ConfigurationError(Exception):
    """The configuration cannot be used; one line for each thing that is wrong."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = problems


def read_document(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigurationError."""
    try:
        document = yaml.load(read_regular(path).decode(), _Loader)  # noqa: S506 (a SafeLoader that refuses duplicate keys)
    except OSError as error:
        raise ConfigurationError(path, [error.strerror or str(error)]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(path, [f"not UTF-8: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(path, [f"no YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(document, dict):
        raise ConfigurationError(path, ["a mapping that begins with `version: 1` belongs here"])
    return document


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key that is there twice, instead of taking the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def problems_of(error: ValidationError, model: type[BaseModel], where: tuple[str | int, ...] = ()) -> list[str]:
    """What pydantic found wrong, a line each; `where` is the key below which the model stands."""
    problems = []
    for each in error.errors(include_url=False):
        loc = each["loc"]
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            message = _unknown(str(loc[-1]), _model_at(model, loc[:-1]))
        elif each["type"] == "missing":
            message = "is required"
        elif each["type"] != "value_error" and not isinstance(each["input"], dict | list):
            message = f"{message[:1].lower()}{message[1:]}, not {each['input']!r}"
        problems.append(f"{key_text((*where, *loc))}: {message}")
    return problems


def _unknown(key: str, model: type[BaseModel] | None) -> str:
    known = list(model.model_fields) if model else []
    close = get_close_matches(key, known, 1)
    return f"unknown key; did you mean `{close[0]}`?" if close else f"unknown key; known here: {', '.join(known)}"


def _model_at(model: type[BaseModel] | None, loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    for part in loc:
        if isinstance(part, str) and model is not None:
            model = _model_of(model.model_fields.get(part))
    return model


def _model_of(info: FieldInfo | None) -> type[BaseModel] | None:
    annotation = info.annotation if info else None
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def key_text(loc: tuple[str | int, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"
