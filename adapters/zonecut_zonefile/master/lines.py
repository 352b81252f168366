"""The physical lines of a file, cut from its octets when they are asked for: a list of them would double the file."""

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Self, overload

_END = re.compile(rb"\r\n?|\n")


class Lines(Sequence[bytes]):
    """Each line with its terminator (LF, CRLF or CR; the last one may have none); some may have been replaced."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("I", (0,))
        self._starts.extend(match.end() for match in _END.finditer(data))
        if self._starts[-1] < len(data):
            self._starts.append(len(data))
        self._replaced: Mapping[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(index)
        if (line := self._replaced.get(at)) is not None:
            return line
        return self._data[self._starts[at] : self._starts[at + 1]]

    def replacing(self, lines: Mapping[int, bytes]) -> Self:
        """The same with other lines in the place of these, which may be several in one."""
        other = type(self).__new__(type(self))
        other._data, other._starts = self._data, self._starts
        other._replaced = {**self._replaced, **lines}
        return other

    def saved(self, data: bytes) -> Self:
        """The same lines as they stand in a file that holds them now, perhaps with a newline more at its end."""
        other = type(self).__new__(type(self))
        other._data, other._replaced = data, {}
        starts, done, shift = array("I"), 0, 0
        for at in sorted(self._replaced):
            starts.extend(_shifted(self._starts[done : at + 1], shift))
            shift += len(self._replaced[at]) - (self._starts[at + 1] - self._starts[at])
            done = at + 1
        starts.extend(_shifted(self._starts[done:], shift))
        starts[-1] = len(data)
        other._starts = starts
        return other

    def content(self) -> bytes:
        """The file's octets."""
        return b"".join(self._parts())

    def _parts(self) -> Iterator[bytes | memoryview]:
        data, done = memoryview(self._data), 0
        for at in sorted(self._replaced):
            yield data[done : self._starts[at]]
            yield self._replaced[at]
            done = self._starts[at + 1]
        yield data[done:]


def _shifted(starts: "array[int]", by: int) -> "array[int]":
    return array("I", (start + by for start in starts)) if by else starts
