"""Reads what old stores pickled, without unpickling: opcodes are interpreted, and nothing that they name is called.

What can be built is a closed list: None, bool, int, float, text, bytes, list, tuple, set, frozenset, dict, OrderedDict,
datetime, date, time, timedelta, timezone, ZoneInfo, Decimal, UUID, and instances of classes that the caller knows, made
from their state alone. Anything else is refused with the name that the pickle gives.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, DecimalException
from typing import Any, Final, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

# The size limit of a value written out. A shared part counts each time it is used; a text counts one per 16 characters.
_MAX_PARTS: Final = 20_000_000
_MAX_DEPTH: Final = 250
_TOO_MANY: Final = f"a value of more than {_MAX_PARTS:,} parts, most of them shared"
_PYTHON_2: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_STATE_BYTES: Final = {datetime: 10, date: 4, time: 6}

KnownClass = Callable[[str, str, Mapping[str, Any]], Any]
"""Makes a value of an instance: takes module, class name and state, and returns None for a class that it refuses."""


class RefusedPickleError(ValueError):
    """A pickle holds something that is not on the list, or is broken; the text says what."""


def read_pickle(data: bytes, known_class: KnownClass = lambda module, name, state: None) -> Any:
    """The value of a pickle.

    Args:
        data: the pickle.
        known_class: makes values of instances.

    Raises:
        RefusedPickleError: it holds something that is not on the list, or it is broken.

    Example:
        >>> import pickle
        >>> read_pickle(pickle.dumps({"text": "Hello.", "page": 1}))
        {'text': 'Hello.', 'page': 1}
    """
    machine = _Machine(known_class)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.perform(opcode.name, argument)
        value = machine.result()
        _check_size(value)
    except RefusedPickleError:
        raise
    except (
        *(ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, AttributeError),
        *(DecimalException, UnicodeError, OSError, StopIteration, Warning),
    ) as exc:
        raise RefusedPickleError(f"a broken pickle ({type(exc).__name__}: {exc!s:.100})") from exc
    return value


class _Name:
    """What a pickle names by module and name. It is never imported."""

    def __init__(self, module: str, name: str) -> None:
        self.module = _PYTHON_2.get(module, module)
        self.name = name

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


class _Instance:
    """An instance of a class that has no state yet."""

    def __init__(self, of: _Name) -> None:
        self.of = of


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(self, known_class: KnownClass) -> None:
        self._known_class = known_class
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        # By id: the tuple, how many parts it has written out, and whether it holds what is no value. Hashing a tuple as
        # a key takes as long as it has parts.
        self._tuples: dict[int, tuple[tuple[Any, ...], int, bool]] = {}
        self._hashed = 0

    def perform(self, name: str, argument: Any) -> None:
        """Perform one opcode."""
        if name in _PUSHED:
            self._stack.append(argument)
            return
        method = _METHODS.get(name)
        if method is None:
            raise RefusedPickleError(f"the opcode {name}")
        method(self, argument)

    def result(self) -> Any:
        """The value that is left."""
        [value] = self._stack
        return self._value(value)

    # The stack

    def mark(self, _argument: Any) -> None:
        """Remember the height of the stack."""
        self._marks.append(len(self._stack))

    def _popped_to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def pop(self, _argument: Any) -> None:
        """Drop the last value, or the last mark."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def pop_mark(self, _argument: Any) -> None:
        """Drop what came after the last mark."""
        self._popped_to_mark()

    def dup(self, _argument: Any) -> None:
        """Push the last value again."""
        self._stack.append(self._stack[-1])

    def put(self, argument: Any) -> None:
        """Remember the last value under a number."""
        self._memo[argument] = self._stack[-1]

    def memoize(self, _argument: Any) -> None:
        """Remember the last value under the next number."""
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, argument: Any) -> None:
        """Push a value that was remembered."""
        self._stack.append(self._memo[argument])

    # Values

    def push(self, value: Any) -> None:
        """Push a value."""
        self._stack.append(value)

    def list_(self, _argument: Any) -> None:
        """Make a list of what came after the last mark."""
        self._stack.append([self._value(item) for item in self._popped_to_mark()])

    def append(self, _argument: Any) -> None:
        """Append the last value to a list."""
        item = self._value(self._stack.pop())
        self._expect(list).append(item)

    def appends(self, _argument: Any) -> None:
        """Append what came after the last mark to a list."""
        items = [self._value(item) for item in self._popped_to_mark()]
        self._expect(list).extend(items)

    def tuple_(self, _argument: Any) -> None:
        """Make a tuple of what came after the last mark."""
        self._push_tuple(self._popped_to_mark())

    def short_tuple(self, size: int) -> None:
        """Make a tuple of the last values."""
        items = self._stack[-size:]
        if len(items) != size:
            raise IndexError("a tuple of more than there is")
        del self._stack[-size:]
        self._push_tuple(items)

    def _push_tuple(self, items: list[Any]) -> None:
        parts = 1 + sum(self._parts_of(item) for item in items)
        if parts > _MAX_PARTS:
            raise RefusedPickleError(_TOO_MANY)
        raw = any(isinstance(item, _Name | _Instance) or self._is_raw(item) for item in items)
        made = tuple(items)
        self._tuples[id(made)] = made, parts, raw
        self._stack.append(made)

    def _parts_of(self, item: Any) -> int:
        return self._tuples[id(item)][1] if id(item) in self._tuples else _parts_of_leaf(item)

    def _is_raw(self, item: Any) -> bool:
        return id(item) in self._tuples and self._tuples[id(item)][2]

    def _as_keys(self, items: list[Any]) -> list[Any]:
        """Values that are about to be hashed."""
        self._hashed += sum(map(self._parts_of, items))
        if self._hashed > _MAX_PARTS:
            raise RefusedPickleError(_TOO_MANY)
        return items

    def dict_(self, _argument: Any) -> None:
        """Make a dict of what came after the last mark."""
        self._stack.append(self._as_dict(self._popped_to_mark()))

    def set_item(self, _argument: Any) -> None:
        """Put a value into a dict."""
        value, key = self._stack.pop(), self._stack.pop()
        self._expect(dict).update(self._as_dict([key, value]))

    def set_items(self, _argument: Any) -> None:
        """Put what came after the last mark into a dict."""
        pairs = self._as_dict(self._popped_to_mark())
        self._expect(dict).update(pairs)

    def _as_dict(self, items: list[Any]) -> dict[Any, Any]:
        values = [self._value(item) for item in items]
        return dict(zip(self._as_keys(values[::2]), values[1::2], strict=True))

    def add_items(self, _argument: Any) -> None:
        """Add what came after the last mark to a set."""
        items = [self._value(item) for item in self._popped_to_mark()]
        self._expect(set).update(self._as_keys(items))

    def frozenset_(self, _argument: Any) -> None:
        """Make a frozenset of what came after the last mark."""
        items = [self._value(item) for item in self._popped_to_mark()]
        self._stack.append(frozenset(self._as_keys(items)))

    def _expect(self, kind: type) -> Any:
        value = self._stack[-1]
        if type(value) is not kind:
            raise TypeError(f"a {type(value).__name__} where a {kind.__name__} is filled")
        return value

    # Names, and what is made of them

    def global_(self, argument: Any) -> None:
        """Push a name."""
        module, _, name = argument.partition(" ")
        self._stack.append(_Name(module, name))

    def stack_global(self, _argument: Any) -> None:
        """Push a name, of two texts."""
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a name that is not text")
        self._stack.append(_Name(module, name))

    def reduce(self, _argument: Any) -> None:
        """Make a value of a name that is on the list."""
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, _Name):
            raise TypeError("a call of what is no name")
        if type(arguments) is not tuple:
            raise TypeError("a call without arguments")
        if called.full == "copyreg._reconstructor" and arguments and isinstance(arguments[0], _Name):
            self._stack.append(_Instance(arguments[0]))
            return
        if called.full == "builtins.getattr" and len(arguments) == 2 and isinstance(arguments[0], _Name):
            self._stack.append(_Name(arguments[0].module, f"{arguments[0].name}.{arguments[1]}"))
            return
        make = _MAKERS.get(called.full)
        if make is None:
            self._refuse(called)
        values = [self._value(one) for one in arguments]
        for value in values:
            if type(value) in (list, tuple):  # what a set or an OrderedDict is made of
                self._as_keys([part for item in value for part in (item if type(item) is list else [item])])
        self._stack.append(make(*values))

    def new_object(self, _argument: Any) -> None:
        """Make an instance."""
        arguments, cls = self._stack.pop(), self._stack.pop()
        if not isinstance(cls, _Name):
            raise TypeError("an object of what is no name")
        if arguments != ():
            self._refuse(cls)
        if cls.full == "collections.OrderedDict":
            self._stack.append({})
            return
        self._stack.append(_Instance(cls))

    def build(self, _argument: Any) -> None:
        """Give an instance its state."""
        state, instance = self._value(self._stack.pop()), self._stack[-1]
        if not isinstance(instance, _Instance):
            raise TypeError("a state of what has none")
        fields = state[0] if type(state) is tuple and state else state
        if type(fields) is not dict:
            self._refuse(instance.of)
        if instance.of.full == "uuid.UUID":
            value: Any = UUID(int=fields["int"])
        else:
            value = self._known_class(instance.of.module, instance.of.name, fields)
        if value is None:
            self._refuse(instance.of)
        self._stack[-1] = value
        self._memo.update({number: value for number, known in self._memo.items() if known is instance})

    def _value(self, item: Any) -> Any:
        """An item that becomes a part of another, or the whole."""
        if isinstance(item, _Name):
            self._refuse(item)
        if isinstance(item, _Instance):
            self._refuse(item.of)
        if self._is_raw(item):
            raise RefusedPickleError("a tuple of what is no value")
        return item

    def _refuse(self, name: _Name) -> NoReturn:
        raise RefusedPickleError(f"{name.full:.200} is not among what is read of a pickle")


_Perform = Callable[[_Machine, Any], None]
_METHODS: Final[Mapping[str, _Perform]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "STOP": lambda machine, argument: None,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.dup,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "NONE": lambda machine, argument: machine.push(None),
    "NEWTRUE": lambda machine, argument: machine.push(True),
    "NEWFALSE": lambda machine, argument: machine.push(False),
    "BYTEARRAY8": lambda machine, argument: machine.push(bytes(argument)),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.push(()),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_SET": lambda machine, argument: machine.push(set()),
    "LIST": _Machine.list_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "TUPLE": _Machine.tuple_,
    "TUPLE1": lambda machine, argument: machine.short_tuple(1),
    "TUPLE2": lambda machine, argument: machine.short_tuple(2),
    "TUPLE3": lambda machine, argument: machine.short_tuple(3),
    "DICT": _Machine.dict_,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "ADDITEMS": _Machine.add_items,
    "FROZENSET": _Machine.frozenset_,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
}
# Opcodes whose argument is the value.
_PUSHED: Final = frozenset(
    (
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    )
)


def _timed(kind: Any) -> Callable[..., Any]:
    def make(state: Any, zone: Any = None) -> Any:
        # Python 2 wrote text, which stands for bytes of the same numbers.
        data = state.encode("latin-1") if type(state) is str else state
        if type(data) is not bytes or len(data) != _STATE_BYTES[kind]:
            raise TypeError(f"a {kind.__name__} of something else")
        if zone is None:
            return kind(data)
        if not isinstance(zone, timezone | ZoneInfo):
            raise TypeError(f"a {kind.__name__} with another time zone")
        return kind(data, zone)

    return make


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) is dict:
        return pairs
    return {key: value for key, value in pairs}  # noqa: C416 - each has to be a pair


def _timezone(offset: Any, name: Any = None) -> timezone:
    if type(offset) is not timedelta:
        raise TypeError("a timezone of something else")
    return timezone(offset) if name is None else timezone(offset, name)


def _zone(key: Any, _from_cache: Any = 1) -> ZoneInfo:
    if type(key) is not str:
        raise TypeError("a time zone without a name")
    return ZoneInfo(key)


def _decimal(digits: Any) -> Decimal:
    if type(digits) is not str:
        raise TypeError("a Decimal of something else")
    return Decimal(digits)


def _timedelta(*parts: Any) -> timedelta:
    if not all(type(part) is int for part in parts):
        raise TypeError("a timedelta of something else")
    return timedelta(*parts)


def _collected(kind: Any) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        if type(items) not in (list, tuple):
            raise TypeError(f"a {kind.__name__} of something else")
        return kind(items)

    return make


def _encoded(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise TypeError("bytes in another encoding")
    return text.encode("latin-1")


def _byte_array(data: Any = b"", encoding: Any = None) -> bytes:
    if encoding is not None:
        return _encoded(data, encoding.replace("-", "") if type(encoding) is str else encoding)
    if type(data) is not bytes:
        raise TypeError("a bytearray of something else")
    return data


_MAKERS: Final[Mapping[str, Callable[..., Any]]] = {
    "collections.OrderedDict": _ordered_dict,
    "datetime.datetime": _timed(datetime),
    "datetime.date": _timed(date),
    "datetime.time": _timed(time),
    "datetime.timedelta": _timedelta,
    "datetime.timezone": _timezone,
    "zoneinfo.ZoneInfo._unpickle": _zone,
    "decimal.Decimal": _decimal,
    "builtins.set": _collected(set),
    "builtins.frozenset": _collected(frozenset),
    "_codecs.encode": _encoded,
    "builtins.bytes": lambda: b"",
    "builtins.bytearray": _byte_array,
    "uuid.SafeUUID": lambda _value: None,
}


def _parts_of_leaf(value: Any) -> int:
    if isinstance(value, str | bytes):
        return 1 + len(value) // 16
    return 1 + value.bit_length() // 128 if type(value) is int else 1


def _check_size(value: Any) -> None:
    """Refuse what would be far larger written out than pickled, because its parts are shared, or has no end.

    Raises:
        RefusedPickleError: it would.
    """
    sizes: dict[int, int] = {}
    # (item, whether its parts are counted, depth). An item that is still open when it is met again contains itself.
    waiting: list[tuple[Any, bool, int]] = [(value, False, 0)]
    is_open: set[int] = set()
    while waiting:
        item, counted, depth = waiting.pop()
        if not isinstance(item, dict | list | tuple | set | frozenset):
            continue
        parts = [*item.keys(), *item.values()] if isinstance(item, dict) else list(item)
        if counted:
            is_open.discard(id(item))
            sizes[id(item)] = 1 + sum(sizes.get(id(part)) or _parts_of_leaf(part) for part in parts)
            if sizes[id(item)] > _MAX_PARTS:
                raise RefusedPickleError(_TOO_MANY)
            continue
        if id(item) in is_open:
            raise RefusedPickleError("a value that is part of itself")
        if id(item) in sizes:
            continue
        if depth > _MAX_DEPTH:
            raise RefusedPickleError(f"a value nested deeper than {_MAX_DEPTH} levels")
        is_open.add(id(item))
        waiting.append((item, True, depth))
        waiting += [(part, False, depth + 1) for part in parts]
