"""Plain Python values as bytes, and back: the only thing that passes between a candidate and its judge.

The reader builds exact built-in types from JSON and nothing else, so an object with an `__eq__` of its own, a
subclass of `int` or a proxy cannot arrive: whatever a candidate writes to its socket, the judge gets plain data.
This file also runs inside the sandbox, hence the standard library only and no import of Razona's errors.
"""

import collections
import json
import os

MAX_DEPTH = 100
"""Containers within containers."""
MAX_MESSAGE_BYTES = 4 * 2**20
LENGTH_BYTES = 4
"""Every message is its length, big-endian, then the message."""
_EXACT_INT = 2**53
"""Larger integers travel as hexadecimal text: Python reads decimal text of more than 4300 digits no more."""
_SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_NAMES = {sequence: name for name, sequence in _SEQUENCES.items()}
_MAPPINGS = (dict, collections.Counter, collections.OrderedDict, collections.defaultdict)


class WireError(ValueError):
    """A value that cannot travel, or bytes that hold no such value."""


class UnknownTypeError(WireError):
    """A value whose type never travels: a function, a generator, an object of a class."""


class ClosedError(Exception):
    """The other end has closed the socket."""


def encode(value: object, depth: int = 0) -> object:
    """Give a value as what `json` can write, tagged so that `decode` gives back the exact type.

    Covers None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict; Counter, defaultdict
    and OrderedDict travel as dict, whose comparison they share.

    Raises:
        WireError: any other type (no subclasses), or more than `MAX_DEPTH` containers within each other.
    """
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if type(value) is int:
        return value if -_EXACT_INT < value < _EXACT_INT else ["int", hex(value)]
    if type(value) is bytes:
        return ["bytes", value.hex()]
    if type(value) is complex:
        return ["complex", [value.real, value.imag]]
    if depth >= MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers within each other")
    if isinstance(value, list | tuple | set | frozenset) and kind in _NAMES:
        return [_NAMES[kind], [encode(item, depth + 1) for item in value]]
    if isinstance(value, dict) and kind in _MAPPINGS:
        return ["dict", [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]]
    raise UnknownTypeError(f"a value of type {kind.__name__}, which is no plain value")


def decode(data: object, depth: int = 0) -> object:
    """Give the value that `encode` made `data` of.

    Raises:
        WireError: `data` is not what `encode` gives, is too deep, or has a list as a key or in a set.
    """
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers within each other")
    match data:
        case ["int", str(digits)]:
            return _read_digits(digits)
        case ["bytes", str(digits)]:
            return _read_bytes(digits)
        case ["complex", [float(real), float(imag)]]:
            return complex(real, imag)
        case [("list" | "tuple" | "set" | "frozenset") as name, list(items)]:
            values = [decode(item, depth + 1) for item in items]
            return values if name == "list" else _hashed(_SEQUENCES[name], values)
        case ["dict", list(items)]:
            return _hashed(dict, [_decode_item(item, depth) for item in items])
    raise WireError("not a message of this protocol")


def _decode_item(item: object, depth: int) -> tuple[object, object]:
    match item:
        case [key, value]:
            return decode(key, depth + 1), decode(value, depth + 1)
    raise WireError("a dict whose items are not pairs")


def _hashed(build: type, values: list) -> object:
    try:
        return build(values)
    except TypeError as error:
        raise WireError(str(error)) from None


def _read_digits(digits: str) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise WireError("an int that is not hexadecimal") from None


def _read_bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise WireError("bytes that are not hexadecimal") from None


def pack(data: object) -> bytes:
    """Give JSON data as ASCII bytes.

    Raises:
        WireError: they are more than `MAX_MESSAGE_BYTES`.
    """
    message = json.dumps(data, separators=(",", ":")).encode("ascii")
    if len(message) > MAX_MESSAGE_BYTES:
        raise WireError(f"more than {MAX_MESSAGE_BYTES} bytes")
    return message


def unpack(message: bytes) -> object:
    """Give the JSON data of a message.

    Raises:
        WireError: it is not JSON, or too deep for the reader.
    """
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise WireError("a message that is not JSON") from None


def write_message(descriptor: int, message: bytes) -> None:
    """Write one message to a blocking socket."""
    rest = memoryview(len(message).to_bytes(LENGTH_BYTES, "big") + message)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_message(descriptor: int) -> bytes:
    """Read one message from a blocking socket.

    Raises:
        ClosedError: the other end has closed it.
    """
    return _read_exactly(descriptor, int.from_bytes(_read_exactly(descriptor, LENGTH_BYTES), "big"))


def _read_exactly(descriptor: int, num_bytes: int) -> bytes:
    parts: list[bytes] = []
    while num_bytes:
        part = os.read(descriptor, num_bytes)
        if not part:
            raise ClosedError
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)
