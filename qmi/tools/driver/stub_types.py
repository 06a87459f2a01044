"""What an annotation of a driver is called in a stub, and what the stub has to import or to declare for it.

Types of Python, of this library and of numpy are imported. Enumerations, dataclasses and named tuples of the driver's
own modules are declared in the stub itself. Everything else, such as a class of a vendor's library that a client does
not have, is ``Any``.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator
from typing import Any

_IMPORTED = frozenset({"qmi", "numpy"}) | (sys.stdlib_module_names - {"__main__"})
"""Packages whose types a stub imports: those that a client has."""

_PUBLIC = tuple(
    f"qmi.core.{name}"
    for name in ("driver", "instrument", "rpc", "pubsub", "task", "transport", "scpi_protocol", "context", "exceptions")
)
"""Where types of this library are imported from."""
_ENUMS = (enum.StrEnum, enum.IntFlag, enum.Flag, enum.IntEnum, enum.Enum)
_ANY = ("Any", "typing.Any")
_PLAIN = (int, str, bytes, bool, float, type(None))


class StubTypes:
    """The names in one stub.

    Args:
        declared: Names of the classes that the stub declares anyhow, with the classes.
    """

    def __init__(self, declared: dict[str, type]) -> None:
        self._declared = declared
        self._known: dict[str, object] = dict(declared)
        self._imports: dict[str, set[str]] = {}
        self._modules: set[str] = set()
        self._texts: dict[type, str] = {}
        self._shadowed: Collection[str] = ()

    def within(self, names: Collection[str]) -> None:
        """Say which names of a class hide others in its body, from now on."""
        self._shadowed = names

    def imports(self) -> list[str]:
        """The import statements, in order."""
        lines = [f"import {module}" for module in sorted(self._modules)]
        for module, names in sorted(self._imports.items()):
            lines.append(f"from {module} import {', '.join(sorted(names))}")
        return lines

    def declarations(self) -> list[str]:
        """The text of each class that had to be declared, each after those that it needs."""
        return list(self._texts.values())

    def name(self, module: str, name: str) -> str:
        """The name of something that can be imported.

        Args:
            module: Where it is.
            name: What it is called there; of a class within a class with that one's name.
        """
        first = name.partition(".")[0]
        thing = (module, first)
        if first in self._shadowed or self._known.setdefault(first, thing) != thing:
            self._modules.add(module)
            return f"{module}.{name}"
        if module != "builtins":
            self._imports.setdefault(module, set()).add(first)
        return name

    def text(self, annotation: object) -> str:
        """What an annotation is in the stub; ``Any`` if it is none, or of a type that a client does not have."""
        if annotation is None or annotation is type(None):
            return "None"
        if annotation is ...:
            return "..."
        if type(annotation).__name__ == "TypeAliasType":  # type X = ..., from Python 3.12 on
            return self.text(getattr(annotation, "__value__", None))
        origin = typing.get_origin(annotation)
        if origin is not None:
            return self._generic(annotation, origin, typing.get_args(annotation))
        if isinstance(annotation, type):
            return self._class(annotation)
        if isinstance(annotation, typing.NewType):
            return self.text(annotation.__supertype__)
        if isinstance(annotation, list):  # the arguments of a Callable
            return f"[{', '.join(map(self.text, annotation))}]"
        name = getattr(annotation, "_name", None)
        if name in ("LiteralString", "Never", "NoReturn", "Self"):
            return self.name("typing", name)
        return self.any()

    def any(self) -> str:
        """The name of ``Any``."""
        return self.name("typing", "Any")

    def _generic(self, annotation: object, origin: object, args: tuple[object, ...]) -> str:
        if origin in (typing.Union, types.UnionType):
            parts = dict.fromkeys(map(self.text, args))
            return next((part for part in parts if part in _ANY), " | ".join(parts))
        if origin is typing.Literal:
            return f"{self.name('typing', 'Literal')}[{', '.join(map(self._literal, args))}]"
        if origin in (typing.Annotated, typing.ClassVar, typing.Final, typing.Required, typing.NotRequired):
            return self.text(args[0])
        if origin in (typing.TypeGuard, typing.Unpack, typing.Concatenate) or not isinstance(origin, type):
            return self.any()
        outer = self._class(origin)
        if outer in _ANY or not args:
            return outer
        if origin is typing.get_origin(Callable[[], None]):
            arguments = args[0] if isinstance(args[0], list) or args[0] is ... else ...
            return f"{outer}[{self.text(arguments)}, {self.text(args[-1])}]"
        return f"{outer}[{', '.join(map(self.text, args))}]"

    def _literal(self, value: object) -> str:
        if isinstance(value, enum.Enum):
            return f"{self.text(type(value))}.{value.name}"
        return repr(value)

    def _class(self, cls: type) -> str:
        if self._declared.get(cls.__name__) is cls:
            return cls.__name__
        if cls in self._texts:
            return cls.__name__
        module, name = public_place(cls)
        if module.partition(".")[0] in _IMPORTED and not module.startswith("qmi.instruments."):
            return self.name(module, name) if "<locals>" not in name else self.any()
        describe = self._describer(cls)
        if describe is None or cls.__name__ in self._known:
            return self.any()
        self._known[cls.__name__] = cls
        self._texts[cls] = ""  # a field may be of the class itself
        shadowed, self._shadowed = self._shadowed, ()
        text = "\n".join(describe(cls))
        self._shadowed = shadowed
        del self._texts[cls]
        self._texts[cls] = text  # after what it needs
        return cls.__name__

    def _describer(self, cls: type) -> Callable[[Any], Iterator[str]] | None:
        if issubclass(cls, enum.Enum):
            return self._enumeration
        if dataclasses.is_dataclass(cls):
            return self._dataclass
        return self._named_tuple if issubclass(cls, tuple) and hasattr(cls, "_fields") else None

    def _enumeration(self, cls: type[enum.Enum]) -> Iterator[str]:
        base = next(base for base in _ENUMS if issubclass(cls, base))
        yield f"class {cls.__name__}({self.name('enum', base.__name__)}):"
        yield from docstring(cls.__dict__.get("__doc__"))
        for name, member in cls.__members__.items():
            value = member.value
            yield f"    {name} = {value!r}" if type(value) in _PLAIN else f"    {name} = ..."

    def _dataclass(self, cls: type) -> Iterator[str]:
        options = getattr(cls, "__dataclass_params__", None)
        given = "(frozen=True)" if options is not None and options.frozen else ""
        yield f"@{self.name('dataclasses', 'dataclass')}{given}"
        yield f"class {cls.__name__}:"
        yield from docstring(cls.__dict__.get("__doc__"), of_class=cls)
        hints = hints_of(cls)
        # Those without a default may come after those with one in a class that takes them by name.
        fields = dataclasses.fields(cls)
        for item in fields:
            has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
            text = self.text(hints.get(item.name, Any))
            if not item.init or item.kw_only:
                given = "init=False" if not item.init else "kw_only=True"
                default = ", default=..." if has_default and item.init else ""
                yield f"    {item.name}: {text} = {self.name('dataclasses', 'field')}({given}{default})"
            else:
                yield f"    {item.name}: {text}{' = ...' if has_default else ''}"
        if not fields:
            yield "    ..."

    def _named_tuple(self, cls: Any) -> Iterator[str]:
        yield f"class {cls.__name__}({self.name('typing', 'NamedTuple')}):"
        yield from docstring(cls.__dict__.get("__doc__"), of_class=cls)
        hints = hints_of(cls)
        for name in cls._fields:
            default = " = ..." if name in cls._field_defaults else ""
            yield f"    {name}: {self.text(hints.get(name, Any))}{default}"


def public_place(cls: type) -> tuple[str, str]:
    """The module and name that a class is best imported by: the shortest that has it, such as ``pathlib.Path``."""
    module, name = cls.__module__, cls.__qualname__
    if getattr(builtins, name, None) is cls:
        return "builtins", name
    first = name.partition(".")[0]
    wanted = getattr(sys.modules.get(module), first, None)
    if module.startswith("qmi."):
        homes = (home for home in _PUBLIC if getattr(importlib.import_module(home), first, None) is wanted)
        module = next(homes, module)
    parts = module.split(".")
    for length in range(1, len(parts)):
        shorter = ".".join(parts[:length])
        if wanted is not None and getattr(sys.modules.get(shorter), first, None) is wanted:
            return shorter, name
    return module, name


def hints_of(thing: Any) -> dict[str, object]:
    """The annotations of a function or class, each as far as it can be made out; others are left out."""
    if isinstance(thing, type):
        found: dict[str, object] = {}
        for base in reversed(thing.__mro__):
            space = dict(vars(sys.modules.get(base.__module__, builtins)))
            found |= _resolved(_annotations(base), space, dict(vars(base)))
        return found
    thing = inspect.unwrap(thing)
    return _resolved(_annotations(thing), getattr(thing, "__globals__", {}), {})


def _annotations(thing: Any) -> dict[str, object]:
    try:
        return inspect.get_annotations(thing)
    except Exception:  # noqa: BLE001 - worked out here from Python 3.14 on, and a name may be one of type checkers only
        return {}


def _resolved(annotations: dict[str, object], space: dict[str, object], local: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, annotation in annotations.items():
        try:
            # Within "list['Mode']", too; a name that is there for type checkers only cannot be made out.
            holder = types.SimpleNamespace(__annotations__={name: annotation}, __globals__=space)
            hints = typing.get_type_hints(holder, space, local, include_extras=True)
        except Exception:  # noqa: BLE001 - a user's annotation may be anything
            continue
        found[name] = hints[name]
    return found


def docstring(text: str | None, indent: str = "    ", of_class: type | None = None) -> Iterator[str]:
    """The lines of a docstring; none if there is none.

    Args:
        text: The documentation.
        indent: What its lines begin with.
        of_class: The class that it is of, whose signature is no documentation.
    """
    if not text or (of_class is not None and text.startswith(f"{of_class.__name__}(")):
        return
    lines = inspect.cleandoc(text).replace("\\", "\\\\").replace('"""', '\\"\\"\\"').splitlines()
    if lines[-1].endswith('"'):
        lines[-1] = lines[-1][:-1] + '\\"'
    if len(lines) == 1:
        yield f'{indent}"""{lines[0]}"""'
        return
    yield f'{indent}"""{lines[0]}'
    yield from (f"{indent}{line}".rstrip() for line in lines[1:])
    yield f'{indent}"""'
