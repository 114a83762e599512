"""Domain dataclasses to messages and back, by field name.

A message has the name of its dataclass and a field for each of its fields, so one converter
serves every pair: scalars as they are, ``tuple`` as ``repeated``, ``X | None`` as ``optional``,
``Runtime.LITERT`` as ``RUNTIME_LITERT``. How each class is converted is worked out once.
"""

import dataclasses
import re
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from google.protobuf import message_factory
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from distillfarm.domain.errors import InvalidRequest
from distillfarm.wire.v1 import services_pb2

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_POOL = services_pb2.DESCRIPTOR.pool
_SCALARS = (str, int, float, bool)


class _Field(NamedTuple):
    """How one field travels; ``encode`` and ``decode`` are None for a scalar, left as it is."""

    name: str
    repeated: bool
    optional: bool
    presence: bool
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None


class _Plan(NamedTuple):
    """How one dataclass travels."""

    message: type[Message]
    fields: tuple[_Field, ...]


@overload
def to_message(obj: object) -> Message: ...
@overload
def to_message(obj: object, kind: type[M]) -> M: ...
def to_message(obj: object, kind: type[Message] = Message) -> Message:
    """The message of ``obj``; ``kind``, the expected class, is there for the type checker.

    Raises:
        InvalidRequest: a value that the wire cannot carry, such as an integer of over 64 bits.
        TypeError: ``obj`` is of a class that has no message, or not of ``kind``.
    """
    cls = type(obj)
    plan = _PLANS.get(cls) or _plan(cls)
    if not issubclass(plan.message, kind):
        raise TypeError(f"{cls.__name__} does not travel as {kind.__name__}")
    values: dict[str, Any] = {}
    for field in plan.fields:
        value = getattr(obj, field.name)
        if value is None:
            continue
        if field.encode is not None:
            value = list(map(field.encode, value)) if field.repeated else field.encode(value)
        values[field.name] = value
    try:
        return plan.message(**values)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{cls.__name__} cannot be sent: {error}") from error


def from_message(message: Message, cls: type[T]) -> T:
    """The ``cls`` that ``message`` mirrors.

    Raises:
        InvalidRequest: a nested message is missing, or a choice is unspecified or unknown.
        TypeError: ``message`` is not the one of ``cls``.
    """
    plan = _PLANS.get(cls) or _plan(cls)
    if not isinstance(message, plan.message):
        raise TypeError(f"{type(message).__name__} is not the message of {cls.__name__}")
    values: dict[str, Any] = {}
    for field in plan.fields:
        if field.presence and not message.HasField(field.name):
            if not field.optional:
                raise InvalidRequest(f"{cls.__name__}.{field.name} is missing")
            values[field.name] = None
            continue
        value = getattr(message, field.name)
        if field.repeated:
            value = tuple(value) if field.decode is None else tuple(map(field.decode, value))
        elif field.decode is not None:
            value = field.decode(value)
        values[field.name] = value
    return cls(**values)


def message_class(cls: type) -> type[Message]:
    """The message class that mirrors a dataclass.

    Raises:
        TypeError: there is none.
    """
    return (_PLANS.get(cls) or _plan(cls)).message


_PLANS: dict[type, _Plan] = {}


def _plan(cls: type) -> _Plan:
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is no dataclass")
    try:
        descriptor = _POOL.FindMessageTypeByName(f"distillfarm.v1.{cls.__name__}")
    except KeyError as error:
        raise TypeError(f"{cls.__name__} has no message in distillfarm.v1") from error
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    names = {field.name for field in fields}
    if names != set(descriptor.fields_by_name):
        odd = ", ".join(sorted(names ^ set(descriptor.fields_by_name)))
        raise TypeError(f"{cls.__name__} and its message differ in: {odd}")
    _PLANS[cls] = _Plan(
        message_factory.GetMessageClass(descriptor),
        tuple(
            _field(cls, descriptor.fields_by_name[field.name], hints[field.name])
            for field in fields
        ),
    )
    return _PLANS[cls]


def _field(cls: type, field: FieldDescriptor, hint: Any) -> _Field:
    where = f"{cls.__name__}.{field.name}"
    repeated, optional = False, False
    if get_origin(hint) is tuple:
        repeated, hint = True, get_args(hint)[0]
    elif get_origin(hint) in (Union, types.UnionType):
        optional = True
        (hint,) = (each for each in get_args(hint) if each is not types.NoneType)
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    if issubclass(hint, Enum):
        if field.enum_type is None:
            raise TypeError(f"{where} is no enum in its message")
        encode, decode = _enum_codec(where, hint, field.enum_type, _default(cls, field.name))
    elif hint not in _SCALARS:
        encode, decode = to_message, lambda message: from_message(message, hint)
    return _Field(field.name, repeated, optional, field.has_presence, encode, decode)


def _enum_codec(
    where: str, cls: type[Enum], descriptor: EnumDescriptor, default: Enum | None
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    prefix = enum_prefix(cls.__name__)
    numbers = {each: descriptor.values_by_name[f"{prefix}{each.name}"].number for each in cls}
    members = {number: each for each, number in numbers.items()}

    def decode(number: int) -> Enum:
        member = members.get(number) if number else default
        if member is None:
            known = ", ".join(f"{prefix}{each.name}" for each in cls)
            problem = f"{number} is unknown here" if number else "is unspecified"
            raise InvalidRequest(f"{where} {problem}; use one of {known}")
        return member

    return numbers.__getitem__, decode


def _default(cls: type, name: str) -> Enum | None:
    """The choice that a peer means which does not know the field yet."""
    (default,) = (each.default for each in dataclasses.fields(cls) if each.name == name)
    return default if isinstance(default, Enum) else None


def enum_prefix(name: str) -> str:
    """What the values of an enum begin with on the wire: ``RUNTIME_`` for ``Runtime``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper() + "_"
