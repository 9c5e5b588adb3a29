import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from components.image_binarizer.decode import decode_image


def _encode(image, file_format="PNG", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def _image(rows, dtype=np.uint8, mode=None):
    image = Image.fromarray(np.array(rows, dtype))
    assert mode in (None, image.mode)
    return image


def _palette(indices, colours):
    image = Image.new("P", (len(indices), 1))
    image.putpalette([value for colour in colours for value in colour])
    image.putdata(indices)
    return image


def _stored_mode(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return image.mode


_RED, _GREEN, _WHITE = [255, 0, 0], [0, 128, 0], [255, 255, 255]

# Encoded bytes, the mode that Pillow sees in them, expected pixels [height, width, channels].
_EXACT = {
    "1": (_encode(_image([[0, 255]]).convert("1")), "1", [[[0], [255]]]),
    "1, tRNS": (
        _encode(_image([[0, 255]]).convert("1"), transparency=0),
        "1",
        [[[255], [255]]],
    ),
    "L": (_encode(_image([[0, 7, 255]])), "L", [[[0], [7], [255]]]),
    "L, tRNS": (_encode(_image([[7, 8]]), transparency=7), "L", [[[255], [8]]]),
    "LA": (_encode(_image([[[100, 255], [100, 0]]], mode="LA")), "LA", [[[100], [255]]]),
    "P": (_encode(_palette([0, 1, 0], [_RED, _GREEN])), "P", [[_RED, _GREEN, _RED]]),
    "P, one transparent": (
        _encode(_palette([0, 1], [_RED, _GREEN]), transparency=0),
        "P",
        [[_WHITE, _GREEN]],
    ),
    "P, alpha per colour": (
        _encode(_palette([0, 1], [_RED, _GREEN]), transparency=b"\xff\x00"),
        "P",
        [[_RED, _WHITE]],
    ),
    "RGB": (_encode(_image([[_RED, _GREEN]])), "RGB", [[_RED, _GREEN]]),
    "RGB, tRNS": (
        _encode(_image([[_RED, _GREEN]]), transparency=(255, 0, 0)),
        "RGB",
        [[_WHITE, _GREEN]],
    ),
    "RGBA": (
        _encode(_image([[[*_RED, 0], [*_GREEN, 255]]])),
        "RGBA",
        [[_WHITE, _GREEN]],
    ),
    "CMYK": (
        _encode(Image.fromarray(np.uint8([[[0, 0, 0, 0], [255, 0, 0, 0]]]), "CMYK"), "TIFF"),
        "CMYK",
        [[_WHITE, [0, 255, 255]]],
    ),
    "I;16 PNG": (
        _encode(_image([[0, 257, 257 * 100, 65535, 128, 129]], np.uint16)),
        "I;16",
        [[[0], [1], [100], [255], [0], [1]]],
    ),
    "I;16 PNG, tRNS": (
        _encode(_image([[0, 257]], np.uint16), transparency=0),
        "I;16",
        [[[255], [1]]],
    ),
    "I;16B TIFF": (
        _encode(Image.frombytes("I;16B", (2, 1), b"\xff\xff\x01\x01"), "TIFF"),
        "I;16B",
        [[[255], [1]]],
    ),
    "I TIFF": (_encode(_image([[0, 65535, 514]], np.int32), "TIFF"), "I", [[[0], [255], [2]]]),
}


@pytest.mark.parametrize("name", list(_EXACT))
def test_pixels_of_every_mode(name):
    encoded, mode, expected = _EXACT[name]
    assert _stored_mode(encoded) == mode
    pixels = decode_image(encoded)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == expected


def test_sixteen_bit_grey_is_scaled_by_257():
    wide = np.arange(256, dtype=np.uint16)[None] * 257
    assert decode_image(_encode(_image(wide, np.uint16)))[0, :, 0].tolist() == list(range(256))


def test_half_transparent_pixels_are_mixed_with_white():
    rgba = _encode(_image([[[255, 0, 100, 128]]]))
    # 128/255 of the colour and 127/255 of white; Pillow may round either way.
    np.testing.assert_allclose(decode_image(rgba), [[[255, 127, 177]]], atol=1)
    grey = _encode(_image([[[100, 128]]], mode="LA"))
    np.testing.assert_allclose(decode_image(grey), [[[177]]], atol=1)


_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", list(_UPRIGHT))
def test_exif_orientation_is_applied(orientation):
    stored = np.arange(0, 60, 10, np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(_encode(Image.fromarray(stored), exif=exif))
    np.testing.assert_array_equal(pixels[:, :, 0], _UPRIGHT[orientation](stored))


@pytest.mark.parametrize(
    ("file_format", "tolerance"), [("JPEG", 2), ("WEBP", 6), ("BMP", 0), ("GIF", 0), ("PPM", 0)]
)
def test_other_file_formats(file_format, tolerance):
    if file_format == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    pixels = decode_image(_encode(Image.new("RGB", (16, 9), (200, 100, 50)), file_format))
    assert pixels.shape == (9, 16, 3)
    expected = np.broadcast_to([200, 100, 50], pixels.shape)
    np.testing.assert_allclose(pixels, expected, atol=tolerance)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    encoded = _encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.n_frames == 2
    assert decode_image(encoded).tolist() == [[_RED, _RED], [_RED, _RED]]


def _noise_image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_truncated_file(file_format):
    encoded = _encode(_noise_image(), file_format)
    assert decode_image(encoded).shape == (64, 64, 3)
    with pytest.raises(ValueError, match=r"^OSError: .*truncated"):
        decode_image(encoded[: len(encoded) // 2])


@pytest.mark.parametrize("encoded", [b"", b"<html>Not found</html>", b"\x89PNG"])
def test_not_an_image(encoded):
    with pytest.raises(ValueError, match=r"^not an image in any format that Pillow reads$"):
        decode_image(encoded)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (_image([[0.5]], np.float32, mode="F"), "floating-point pixels have no defined white"),
        (_image([[-1]], np.int32, mode="I"), "outside 0 to 65535 have no defined white"),
        (_image([[65536]], np.int32, mode="I"), "outside 0 to 65535 have no defined white"),
    ],
)
def test_pixels_without_a_defined_white(image, reason):
    with pytest.raises(ValueError, match=reason):
        decode_image(_encode(image, "TIFF"))


def test_decompression_bomb_is_a_reason_and_is_not_decoded():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match=r"^DecompressionBombError: .*900000000 pixels"):
        decode_image(bomb)


_WHOLE = _encode(_noise_image().resize((8, 8)))


@given(st.integers(0, len(_WHOLE) - 1), st.binary(max_size=40))
def test_damaged_bytes_give_pixels_or_a_value_error(cut, junk):
    try:
        pixels = decode_image(_WHOLE[:cut] + junk)
    except ValueError:
        return
    assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)
    assert pixels.shape[2] in (1, 3)
