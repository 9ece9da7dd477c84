"""Sees what SQLite writes and when it has it made durable; and what a disk would hold if the power failed then.

A shim of SQLite's file layer, in the very library that Python's sqlite3 module uses: the functions for write, truncate,
sync and delete note what they are told, then call the original.
"""

import _sqlite3
import ctypes
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path

_POINTER_BYTES = ctypes.sizeof(c_void_p)
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
# Places in sqlite3_vfs and sqlite3_io_methods, in pointers; both begin with numbers padded to pointers.
_VFS_POINTERS, _NAME, _XOPEN, _XDELETE = 21, 3, 5, 6
_METHODS_POINTERS, _XWRITE, _XTRUNCATE, _XSYNC = 19, 3, 4, 5


@dataclass(frozen=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True)
class Sync:
    file: str


@dataclass(frozen=True)
class Delete:
    file: str


@dataclass(frozen=True)
class Answered:
    """Somebody was told that this is durable."""

    key: str


Event = Write | Truncate | Sync | Delete | Answered


class Recorder:
    """Every event of the files below one folder, in order. `answered` adds its own."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        self._folder = str(folder)
        self._keep: list[object] = []  # what C points to
        self._files: dict[int, str] = {}

    def answered(self, key: str) -> None:
        self.events.append(Answered(key))

    @contextmanager
    def installed(self) -> Iterator["Recorder"]:
        """As SQLite's default file layer. Files opened meanwhile are recorded until they are closed."""
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = c_void_p
        original = library.sqlite3_vfs_find(None)
        shim = self._shim(original)
        assert library.sqlite3_vfs_register(byref(shim), 1) == 0
        try:
            yield self
        finally:
            library.sqlite3_vfs_register(c_void_p(original), 1)
            library.sqlite3_vfs_unregister(byref(shim))

    def _shim(self, original: int) -> ctypes.Array[c_void_p]:
        table = (c_void_p * _VFS_POINTERS).from_buffer_copy(ctypes.string_at(original, _VFS_POINTERS * _POINTER_BYTES))
        really_open, really_delete = _OPEN(table[_XOPEN]), _DELETE(table[_XDELETE])

        def open_file(vfs: int, name: int, file: int, flags: int, out: object) -> int:
            code: int = really_open(original, name, file, flags, out)
            path = ctypes.string_at(name).decode() if name else ""
            if code == 0 and path.startswith(self._folder):
                self._files[file] = Path(path).name
                self._watch(file)
            return code

        def delete(vfs: int, name: bytes, sync: int) -> int:
            if name.decode().startswith(self._folder):
                self.events.append(Delete(Path(name.decode()).name))
            return int(really_delete(original, name, sync))

        label = ctypes.create_string_buffer(b"recording")
        callbacks = _OPEN(open_file), _DELETE(delete)
        table[_NAME] = ctypes.addressof(label)
        table[_XOPEN], table[_XDELETE] = (ctypes.cast(one, c_void_p).value for one in callbacks)
        self._keep += [label, *callbacks, table]
        return table

    def _watch(self, file: int) -> None:
        """Give the open file a table of functions of its own. Its first field points to the table."""
        slot = ctypes.cast(file, POINTER(c_void_p))
        table = (c_void_p * _METHODS_POINTERS).from_buffer_copy(
            ctypes.string_at(slot[0], _METHODS_POINTERS * _POINTER_BYTES)
        )
        really_write, really_truncate = _WRITE(table[_XWRITE]), _TRUNCATE(table[_XTRUNCATE])
        really_sync = _SYNC(table[_XSYNC])

        def write(file: int, data: int, size: int, offset: int) -> int:
            self.events.append(Write(self._files[file], offset, ctypes.string_at(data, size)))
            return int(really_write(file, data, size, offset))

        def truncate(file: int, size: int) -> int:
            self.events.append(Truncate(self._files[file], size))
            return int(really_truncate(file, size))

        def sync(file: int, flags: int) -> int:
            code = int(really_sync(file, flags))
            self.events.append(Sync(self._files[file]))
            return code

        callbacks = _WRITE(write), _TRUNCATE(truncate), _SYNC(sync)
        table[_XWRITE], table[_XTRUNCATE], table[_XSYNC] = (ctypes.cast(one, c_void_p).value for one in callbacks)
        self._keep += [*callbacks, table]
        slot[0] = ctypes.addressof(table)


class Disk:
    """What would be there after a power failure: all that was synced, and of the rest whatever the disk had got to."""

    def __init__(self) -> None:
        self._durable: dict[str, bytearray] = {}
        self._pending: list[Write | Truncate] = []

    @property
    def pending(self) -> Sequence[Write | Truncate]:
        """What no sync has covered yet, oldest first."""
        return self._pending

    def apply(self, event: Event) -> None:
        match event:
            case Write() | Truncate():
                self._pending.append(event)
            case Sync(file):
                for change in self._pending:
                    if change.file == file:
                        _change(self._durable, change)
                self._pending = [change for change in self._pending if change.file != file]
            case Delete(file):
                self._durable.pop(file, None)
                self._pending = [change for change in self._pending if change.file != file]

    def after_loss(self, survivors: Sequence[Write | Truncate] = ()) -> dict[str, bytes]:
        """The files, by name, if these of the pending changes had reached the disk."""
        files = {name: bytearray(data) for name, data in self._durable.items()}
        for change in survivors:
            _change(files, change)
        return {name: bytes(data) for name, data in files.items()}


def torn(change: Write | Truncate, chance: random.Random) -> Write | Truncate:
    """Only the beginning of the write arrived."""
    if isinstance(change, Truncate):
        return change
    return Write(change.file, change.offset, change.data[: chance.randrange(len(change.data))])


def _change(files: dict[str, bytearray], change: Write | Truncate) -> None:
    data = files.setdefault(change.file, bytearray())
    if isinstance(change, Truncate):
        del data[change.size :]
        return
    data.extend(bytes(max(0, change.offset + len(change.data) - len(data))))
    data[change.offset : change.offset + len(change.data)] = change.data
