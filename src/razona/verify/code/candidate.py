"""The process that holds the code of a completion: it gets arguments, and gives back plain values.

It never holds a test, an expected value or a verdict. Everything here may be patched, read or ended by the code it
runs, and nothing of the verdict rests on it. This file runs inside the sandbox, hence the standard library only.
"""

import builtins
import os
import sys
from types import ModuleType

from razona.verify.code.wire import (
    ClosedError,
    UnknownTypeError,
    WireError,
    decode,
    encode,
    pack,
    read_message,
    unpack,
    write_message,
)

_MAX_MESSAGE_CHARACTERS = 200
_EXITS = {"exit": sys.exit, "quit": sys.exit}
"""What a program expects among the built-ins, and only the `site` module, which the sandbox skips, puts there."""


def answer_calls(descriptor: int) -> None:
    """Run the code as a module, then call its functions with the arguments that arrive, until the socket closes.

    Replies: `["value", V]`; `["object", type, truth]` for a result that is no plain value, of which a test may ask
    no more than whether it is true; `["raised", type, text]`; `["refused", why]` for a result too deep or too long.
    """
    os.dup2(1, 2)  # the parent reads standard error only until the process is confined
    source = read_message(descriptor).decode("utf-8", errors="surrogatepass")
    builtins.__dict__.update(_EXITS)
    module = ModuleType("solution")
    sys.modules["solution"] = module
    failure: bytes | None = None
    try:
        exec(compile(source, "<solution>", "exec"), module.__dict__)
    except BaseException as error:
        failure = _describe(error)
    while True:
        try:
            request = read_message(descriptor)
        except ClosedError:
            return
        write_message(descriptor, failure or _call(module, request))


def _call(module: ModuleType, request: bytes) -> bytes:
    name, arguments, keywords = _read_request(request)
    try:
        result = getattr(module, name)(*arguments, **keywords)
        try:
            return pack(["value", encode(result)])
        except UnknownTypeError:
            return pack(["object", type(result).__name__, bool(result)])
    except WireError as error:
        return pack(["refused", str(error)])
    except BaseException as error:
        return _describe(error)


def _read_request(request: bytes) -> tuple[str, list[object], dict[str, object]]:
    match decode(unpack(request)):
        case [str(name), list(arguments), dict(keywords)]:
            return name, arguments, keywords
    raise WireError("a request that is not [name, arguments, keywords]")


def _describe(error: BaseException) -> bytes:
    try:
        text = str(error)[:_MAX_MESSAGE_CHARACTERS]
    except Exception:
        text = ""
    return pack(["raised", type(error).__name__, text])


def run_program(descriptor: int) -> None:
    """Run the code as a program on this process's standard input and output."""
    source = read_message(descriptor).decode("utf-8", errors="surrogatepass")
    os.close(descriptor)
    builtins.__dict__.update(_EXITS)
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(source, "<solution>", "exec"), main.__dict__)
