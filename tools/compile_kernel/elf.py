"""Just enough of ELF to see what a shared library needs: libraries, symbols with their versions. Reads 64-bit little-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

_SHT_DYNSYM, _SHT_DYNAMIC = 11, 6
_SHT_VERNEED, _SHT_VERSYM = 0x6FFFFFFE, 0x6FFFFFFF
_DT_NEEDED = 1


class NotElfError(ValueError):
    """The file is not a 64-bit little-endian ELF library."""


@dataclass(frozen=True)
class Dynamic:
    """The dynamic section: sonames it needs, symbols it defines and symbols it wants, the latter with their version or ''."""

    needed: tuple[str, ...] = ()
    defined: frozenset[str] = frozenset()
    undefined: dict[str, str] = field(default_factory=dict)
    weak: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int
    info: int


def read(path: Path) -> Dynamic:
    """What the shared library at `path` needs and gives; raises NotElfError."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElfError(f"{path.name} is not a 64-bit little-endian ELF file")
    try:
        return _dynamic(data)
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise NotElfError(f"{path.name} is damaged: {error}") from None


def _dynamic(data: bytes) -> Dynamic:
    start = struct.unpack_from("<Q", data, 40)[0]
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [_section(data, start + index * size) for index in range(count)]
    by_kind = {section.kind: section for section in sections}
    if _SHT_DYNSYM not in by_kind:
        return Dynamic()
    symbols = by_kind[_SHT_DYNSYM]
    names = sections[symbols.link]
    versions = _versions(data, by_kind, sections)
    versym = by_kind.get(_SHT_VERSYM)
    defined: set[str] = set()
    weak: set[str] = set()
    undefined: dict[str, str] = {}
    for index in range(1, symbols.size // 24):
        name, info, _, place = struct.unpack_from("<IBBH", data, symbols.offset + index * 24)
        text = _string(data, names.offset + name)
        if not text:
            continue
        if place:
            defined.add(text)
            continue
        number = struct.unpack_from("<H", data, versym.offset + index * 2)[0] & 0x7FFF if versym else 0
        undefined[text] = versions.get(number, "")
        if info >> 4 == 2:
            weak.add(text)
    return Dynamic(_needed(data, by_kind, sections), frozenset(defined), undefined, frozenset(weak))


def _section(data: bytes, at: int) -> _Section:
    _, kind, _, _, offset, size, link, info = struct.unpack_from("<IIQQQQII", data, at)
    return _Section(kind, offset, size, link, info)


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "replace")


def _needed(data: bytes, by_kind: dict[int, _Section], sections: list[_Section]) -> tuple[str, ...]:
    dynamic = by_kind.get(_SHT_DYNAMIC)
    if dynamic is None:
        return ()
    strings = sections[dynamic.link].offset
    tags = (struct.unpack_from("<QQ", data, dynamic.offset + 16 * i) for i in range(dynamic.size // 16))
    return tuple(_string(data, strings + value) for tag, value in tags if tag == _DT_NEEDED)


def _versions(data: bytes, by_kind: dict[int, _Section], sections: list[_Section]) -> dict[int, str]:
    need = by_kind.get(_SHT_VERNEED)
    if need is None:
        return {}
    strings = sections[need.link].offset
    found: dict[int, str] = {}
    at = need.offset
    for _ in range(need.info):
        _, count, _, first, following = struct.unpack_from("<HHIII", data, at)
        inner = at + first
        for _ in range(count):
            _, _, number, name, step = struct.unpack_from("<IHHII", data, inner)
            found[number & 0x7FFF] = _string(data, strings + name)
            inner += step
        at += following
    return found
