"""XMP packets: patched as text, and in two parts where a JPEG has no room for one.

Everything here takes time linear in the packet's length, whatever it holds. Sources: XMP
specification parts 1 and 3 (extended XMP); the notes of Google and Adobe on gain maps and motion
photos.
"""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import NamedTuple
from xml.parsers import expat

_SIZE = re.compile(
    rb"((?:tiff:Image(?:Width|Length)|exif:Pixel[XY]Dimension)(?:=[\"']|>))\d+(?=[\"'<])"
)
_ROTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))([2-8])(?=[\"'<])")
SECOND_PICTURE = "its second picture (a gain map or a motion video) is left out"
THUMBNAILS = (b"xmp:Thumbnails", b"xap:Thumbnails")
# What announces a second picture in the file: a gain map, or the video of a motion photo.
_SECOND = (
    b"(?:(?:G?Camera):(?:MicroVideo|MotionPhoto)[A-Za-z]*"
    b"|hdrgm:[A-Za-z]+|HDRGainMap:[A-Za-z]+|MotionPhoto:[A-Za-z]+)"
)
_SECOND_ATTRIBUTE = re.compile(rb"\s" + _SECOND + rb"\s?=\s?(?:\"[^\"]*\"|'[^']*')")
_SECOND_ELEMENT = re.compile(rb"<(" + _SECOND + rb")[\s>/]")
DIRECTORIES = (b"Container:Directory", b"GContainer:Directory")
_EXTENDED = re.compile(rb"\sxmpNote:HasExtendedXMP\s?=\s?[\"']([0-9A-F]{32})[\"']")
_EXTENDED_ELEMENT = re.compile(rb"<xmpNote:HasExtendedXMP>([0-9A-F]{32})</xmpNote:HasExtendedXMP>")
NOTE_SPACE = b"http://ns.adobe.com/xmp/note/"


def orientation(xmp: bytes | None) -> int:
    """The EXIF orientation 1..8 in a packet, else 1."""
    found = _ROTATION.search(xmp or b"")
    return int(found[2]) if found else 1


def without_rotation(xmp: bytes) -> bytes:
    """The packet with every `tiff:Orientation` set to 1; its length stays."""
    return _ROTATION.sub(rb"\g<1>1", xmp)


def with_size(xmp: bytes, height: int, width: int) -> bytes:
    """The packet with its pixel dimensions, where it has them, changed."""

    def renew(found: re.Match[bytes]) -> bytes:
        across = b"Width" in found[1] or b"PixelX" in found[1]
        return found[1] + str(width if across else height).encode()

    return _SIZE.sub(renew, xmp)


def without_thumbnails(xmp: bytes) -> bytes:
    """The packet without the small pictures that editors put into it."""
    for name in THUMBNAILS:
        xmp = _without_elements(xmp, name)
    return xmp


def without_second_pictures(xmp: bytes) -> bytes:
    """The packet without what announces a gain map or a motion video in the same file."""
    if not _SECOND_ATTRIBUTE.search(xmp) and not _SECOND_ELEMENT.search(xmp):
        return xmp
    names = {found[1] for found in _SECOND_ELEMENT.finditer(xmp)}
    for name in (*DIRECTORIES, *sorted(names)):
        xmp = _without_elements(xmp, name)
    return _SECOND_ATTRIBUTE.sub(b"", xmp)


def _without_elements(xmp: bytes, name: bytes) -> bytes:
    """The packet without the elements of a name, which do not hold one another."""
    kept, at = [], 0
    opening, closing = b"<" + name, b"</" + name + b">"
    start = xmp.find(opening)
    while start >= 0:
        behind = start + len(opening)
        end = xmp.find(b">", behind)
        if end < 0:
            break
        if xmp[behind : behind + 1] in b" \t\r\n/>":
            if xmp[end - 1 : end] != b"/":
                end = xmp.find(closing, end)
                if end < 0:
                    break
                end += len(closing) - 1
            kept.append(xmp[at:start])
            at = end + 1
        start = xmp.find(opening, max(at, behind))
    return b"".join([*kept, xmp[at:]])


class _Outline(NamedTuple):
    """Positions in a packet: its root, its rdf:RDF element, and that element's children.

    root, rdf: where the opening tags begin; ends: where the root's closing tag ends
    """

    root: int
    rdf: int
    rdf_name: str
    children: list[int]
    rdf_end: int
    ends: int
    namespaces: dict[str, str]


def _outline(xmp: bytes) -> _Outline | None:
    """Where the parts of a packet begin; None for one that is not XML as XMP has it."""
    if b"<!" in xmp:  # no entities of anybody's making
        return None
    parser = expat.ParserCreate()
    depth, rdf_depth, rdf_name, root, rdf, rdf_end, end = 0, 0, "", -1, -1, -1, -1
    children: list[int] = []
    namespaces: dict[str, str] = {}

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, rdf_depth, rdf_name, root, rdf
        root = parser.CurrentByteIndex if depth == 0 else root
        depth += 1
        if rdf < 0:
            namespaces.update({k: v for k, v in attributes.items() if k.startswith("xmlns:")})
            if name.endswith(":RDF"):
                rdf, rdf_depth, rdf_name = parser.CurrentByteIndex, depth, name
        elif depth == rdf_depth + 1 and rdf_end < 0:
            children.append(parser.CurrentByteIndex)

    def finish(_name: str) -> None:
        nonlocal depth, rdf_end, end
        if depth == rdf_depth and rdf_end < 0:
            rdf_end = parser.CurrentByteIndex
        if depth == 1:
            end = parser.CurrentByteIndex
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = begin, finish
    try:
        parser.Parse(xmp.rstrip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, UnicodeError, LookupError):
        return None
    if rdf < 0 or not children:
        return None
    return _Outline(root, rdf, rdf_name, children, rdf_end, xmp.find(b">", end) + 1, namespaces)


def extension_of(xmp: bytes) -> bytes | None:
    """The identifier of the extension that a main packet names, or None."""
    found = _EXTENDED.search(xmp) or _EXTENDED_ELEMENT.search(xmp)
    return found[1] if found else None


def merge(main: bytes, extension: bytes) -> bytes | None:
    """One packet of a main one and its extension; None where they are not well-formed."""
    main = _EXTENDED_ELEMENT.sub(b"", _EXTENDED.sub(b"", main))
    first, second = _outline(main), _outline(extension)
    if first is None or second is None:
        return None
    tag = first.rdf + 1 + len(first.rdf_name)
    missing = {k: v for k, v in second.namespaces.items() if k not in first.namespaces}
    spaces = "".join(f' {k}="{v}"' for k, v in missing.items()).encode()
    added = extension[second.children[0] : second.rdf_end]
    return main[:tag] + spaces + main[tag : first.rdf_end] + added + main[first.rdf_end :]


def split(xmp: bytes, largest: int) -> tuple[bytes, bytes, bytes] | None:
    """A packet in two: main, extension, and the identifier of it; None where that cannot be done.

    largest: bytes that the main packet may have
    """
    outline = _outline(xmp)
    if outline is None:
        return None
    head = xmp[outline.root : outline.children[0]]
    tail = xmp[outline.rdf_end : outline.ends]
    limits = [*outline.children, outline.rdf_end]
    room = largest - len(head) - len(tail) - 200  # for the name of the extension
    main: list[bytes] = []
    extension: list[bytes] = []
    for begin, end in pairwise(limits):
        fits = end - begin <= room
        (main if fits else extension).append(xmp[begin:end])
        room -= end - begin if fits else 0
    if room < 0:
        return None
    if not extension:  # only the padding was too long
        return head + b"".join(main) + tail, b"", b""
    rest = head + b"".join(extension) + tail
    name = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper().encode()
    prefix = outline.rdf_name.partition(":")[0].encode()
    note = b'<%s:Description %s:about="" xmlns:xmpNote="%s" xmpNote:HasExtendedXMP="%s"/>'
    note %= (prefix, prefix, NOTE_SPACE, name)
    return head + b"".join(main) + note + tail, rest, name
