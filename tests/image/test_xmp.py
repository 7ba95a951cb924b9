"""XMP packets: mended as text, merged and split, in linear time."""

from __future__ import annotations

import time
import xml.dom.minidom

import pytest

from restore.image import xmp

RDF = b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


def packet(*children: bytes, spaces: bytes = b"") -> bytes:
    return (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b"<rdf:RDF " + RDF + spaces + b">" + b"".join(children) + b"</rdf:RDF></x:xmpmeta>"
        b"\n   \n<?xpacket end='w'?>"
    )


def child(name: bytes, text: bytes) -> bytes:
    return (
        b'<rdf:Description rdf:about="" xmlns:a="urn:a"><a:%s t="x > y">' % name
        + text
        + b"</a:%s></rdf:Description>" % name
    )


def texts(data: bytes) -> list[str]:
    found = xml.dom.minidom.parseString(data)
    names = ("a:one", "a:two", "a:three")
    return [str(e.firstChild.data) for n in names for e in found.getElementsByTagName(n)]


def test_a_packet_in_two_is_one_again_with_all_that_it_said() -> None:
    whole = packet(child(b"one", b"1"), child(b"two", b"2" * 90_000), child(b"three", b"3"))
    parts = xmp.split(whole, 2000)
    assert parts is not None
    main, extension, name = parts
    assert len(main) <= 2000 and xmp.extension_of(main) == name
    assert texts(main) == ["1", "3"] and texts(extension) == ["2" * 90_000]
    again = xmp.merge(main, extension)
    assert again is not None and xmp.extension_of(again) is None
    assert sorted(texts(again)) == sorted(texts(whole))


def test_the_namespaces_of_an_extension_come_along() -> None:
    second = packet(b"<rdf:Description b:c='d'/>", spaces=b' xmlns:b="urn:b"')
    merged = xmp.merge(packet(child(b"one", b"1")), second)
    assert merged is not None
    assert texts(merged) == ["1"] and b"b:c='d'" in merged


@pytest.mark.parametrize("bad", [b"", b"<x", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"])
def test_what_is_no_xmp_is_neither_merged_nor_split(bad: bytes) -> None:
    assert xmp.split(bad, 10) is None
    assert xmp.merge(packet(child(b"one", b"1")), bad) is None


def test_only_padding_that_is_too_long_is_dropped() -> None:
    whole = packet(child(b"one", b"1")).replace(b"\n   \n", b" " * 70_000)
    parts = xmp.split(whole, 60_000)
    assert parts is not None
    assert parts[1:] == (b"", b"") and texts(parts[0]) == ["1"]


def test_what_announces_a_second_picture_is_gone_and_the_rest_stays() -> None:
    """The gain map is not written, and viewers looked for it."""
    directory = (
        b"<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Semantic='GainMap'/></rdf:li>"
        b"</rdf:Seq></Container:Directory>"
    )
    spaces = b' xmlns:hdrgm="a" xmlns:Container="b" xmlns:Item="c" xmlns:GCamera="d" xmlns:e="e"'
    said = packet(
        b'<rdf:Description e:rating="5" hdrgm:Version="1.0" GCamera:MotionPhoto="1"'
        b" GCamera:MicroVideoOffset='9'>" + directory + b"<GCamera:MotionPhotoVersion>1"
        b"</GCamera:MotionPhotoVersion><e:f/></rdf:Description>",
        spaces=spaces,
    )
    after = xmp.without_second_pictures(said)
    xml.dom.minidom.parseString(after)
    assert b'e:rating="5"' in after and b"<e:f/>" in after
    for word in (b"Version=", b"GainMap", b"MotionPhoto", b"MicroVideo", b"Directory"):
        assert word not in after
    assert xmp.without_second_pictures(packet(child(b"one", b"1"))) == packet(child(b"one", b"1"))


@pytest.mark.parametrize(
    "piece",
    [b"<xmp:Thumbnails>", b"<xmp:Thumbnails ", b" hdrgm:Version='", b"<GCamera:MotionPhoto>",
     b" ", b"<Container:Directory>", b" tiff:Orientation=", b" exif:PixelXDimension='1"],
)  # fmt: skip
def test_a_packet_of_many_openings_takes_linear_time(piece: bytes) -> None:
    """A pattern with a lazy middle took 8 seconds for 128 kB of openings."""
    used = []
    for size in (200_000, 1_600_000):
        hostile = (piece * (size // len(piece) + 1))[:size] + b" GCamera:MotionPhoto='1'"
        began = time.process_time()
        for function in (
            xmp.without_thumbnails,
            xmp.without_second_pictures,
            xmp.without_rotation,
            xmp.orientation,
            xmp.extension_of,
        ):
            function(hostile)
        xmp.with_size(hostile, 3, 4)
        used.append(time.process_time() - began)
    assert used[1] < 20 * used[0] + 0.5  # 64 times, were it quadratic
