"""Pixels of every depth and mode, and files that are no picture."""

import struct
import zlib
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from PIL import Image

from squeeze.core.errors import InputError
from squeeze.core.types import Silent
from squeeze.data import image_files
from squeeze.data.samples import CorruptImageError
from squeeze.data.sets import Opening, open_data
from squeeze.data.splits import Split
from squeeze.recipe.schema import DataBlock, InputSpec

RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(4, 64)
SPEC = InputSpec(shape=(1, 4, 64), crop_fraction=1.0)


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def claiming(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says that it is this large."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def grey(file: Path) -> Any:
    image_files.digest(file)
    image = image_files.decode(file)
    assert image.mode in {"L", "RGB"}
    return np.asarray(image.convert("L")).astype(float)


def folder(root: Path) -> Split:
    spec = InputSpec(shape=(3, 4, 4))
    source = {"format": "image_folder", "path": str(root), "on_corrupt": "skip"}
    return open_data(
        DataBlock.model_validate({"validation": source}),
        Opening(Path(), spec, 0, Silent()),
        trains=True,
        calibrates=False,
    ).validation


def test_16_bits_are_scaled_to_8(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    Image.fromarray(RAMP).save(tmp_path / "a.tif")
    (tmp_path / "a.pgm").write_bytes(b"P5 64 4 65535\n" + RAMP.astype(">u2").tobytes())
    (tmp_path / "12.pgm").write_bytes(b"P5 64 4 4095\n" + (RAMP >> 4).astype(">u2").tobytes())
    for file in tmp_path.iterdir():
        assert np.abs(grey(file) - RAMP / 257).max() <= 0.5, file.name


def tiff(bits: int, photometric: int, pixels: bytes, width: int, height: int) -> bytes:
    """Return an uncompressed grey TIFF, written by hand from TIFF 6.0."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1}
    tags |= {278: height, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def test_tiff_of_12_bits_and_tiff_whose_zero_is_white(tmp_path: Path) -> None:
    narrow = (RAMP >> 4).astype(np.uint32).reshape(-1, 2)
    packed = np.stack(
        [narrow[:, 0] >> 4, (narrow[:, 0] & 15) << 4 | narrow[:, 1] >> 8, narrow[:, 1] & 255], 1
    )
    (tmp_path / "12.tif").write_bytes(tiff(12, 1, packed.astype(np.uint8).tobytes(), 64, 4))
    (tmp_path / "0.tif").write_bytes(tiff(16, 0, RAMP.astype("<u2").tobytes(), 64, 4))
    assert np.abs(grey(tmp_path / "12.tif") - (RAMP >> 4) / 4095 * 255).max() <= 0.5
    assert np.abs(grey(tmp_path / "0.tif") - (255 - RAMP / 257)).max() <= 0.5


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (RAMP.astype(np.float32) / 65535, "floating-point numbers"),
        (RAMP.astype(np.int32), "32-bit or signed integers"),
    ],
)
def test_what_has_no_white_is_refused_by_name(pixels: Any, what: str, tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(pixels).save(file)
    for read in (image_files.digest, image_files.decode):
        with pytest.raises(CorruptImageError, match=f"a.tif: holds {what}"):
            read(file)


def test_every_mode_keeps_its_colours(tmp_path: Path) -> None:
    plain = Image.fromarray((RAMP >> 8).astype(np.uint8))
    shown = np.asarray(plain).astype(float)
    for mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        plain.convert("RGB").convert(mode).save(tmp_path / f"{mode}.tif")
    palette = plain.convert("P")
    palette.save(tmp_path / "one.png", transparency=3)
    palette.save(tmp_path / "bytes.png", transparency=bytes(range(256)))
    for file in tmp_path.iterdir():
        assert np.abs(grey(file) - shown).max() <= 1, file.name
    two = tmp_path / "two.png"
    plain.point(lambda value: 255 * (value > 99), "1").save(two)
    assert np.array_equal(grey(two), 255 * (shown > 99))


def test_pictures_of_a_function_are_scaled_too(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\nfrom PIL import Image\n"
        "ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(4, 64)\n"
        "def make(): return [(Image.fromarray(ramp // (1 + i)), i) for i in range(2)]\n"
        "def floats(): return [(Image.fromarray(ramp / np.float32(9 + i)), i) for i in range(2)]\n"
        "class Bombs:\n"
        "    classes = ['a', 'b']\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i): raise Image.DecompressionBombError('too large')\n"
        "def planes(): return [(np.zeros((3, 8, 8), np.uint8), i) for i in range(2)]\n"
        "def fails(): return Failing()\n"
        "class Failing(Bombs):\n"
        "    def __getitem__(self, i): raise KeyError('nothing there')\n"
        "class Counted(Bombs): classes = 3\n"
        "def half(): return [(ramp, i + 0.5) for i in range(2)]\n"
        "def huge(): return [(ramp, 2**40 + i) for i in range(2)]\n"
    )

    def opened(name: str) -> Split:
        block = DataBlock.model_validate({"validation": f"./data.py:{name}"})
        opening = Opening(tmp_path, SPEC, 0, Silent())
        return open_data(block, opening, trains=True, calibrates=False).validation

    for build in (":make", "..:make", "nowhere.to.be:found"):
        block = DataBlock.model_validate({"validation": build})
        with pytest.raises(InputError, match=r"cannot import|names no function"):
            open_data(block, Opening(tmp_path, SPEC, 0, Silent()), trains=True, calibrates=False)
    images, _ = opened("make").batch([0])
    assert np.abs(images[0, 0] * 255 - RAMP / 257).max() <= 0.51
    for name, text in (
        ("floats", "2 of 2 images cannot be read: .*holds floating-point numbers"),
        ("Bombs", "2 of 2 images cannot be read: .*too large"),
        ("planes", r"an image is uint8 \(3, 8, 8\), expected uint8 \(H, W"),
        ("fails", r"fails\[0\]: failed: KeyError: 'nothing there'"),
        ("Counted", "has the attribute classes 3, expected a list of names"),
        ("half", "item 0 is a tuple, expected"),
        ("huge", "has label 1099511627777, allowed: below 100000"),
    ):
        with pytest.raises(InputError, match=text):
            opened(name)


def test_bombs_and_other_files_that_are_no_picture(tmp_path: Path) -> None:
    whole = tmp_path / "ant" / "good.png"
    for seed, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name / "good.png")
    bad = {
        "bomb.png": (claiming(2**31 - 1, 2**31 - 1), "claims more than 89,478,485 pixels"),
        "warned.png": (claiming(10_000, 10_000), "claims more than 89,478,485 pixels"),
        "nothing.pgm": (b"P5 0 4 255\n", "is not an image of a kind that is read"),
        "program.png": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is not an image of a",
        ),
        "empty.jpg": (b"", "is not an image of a kind that is read"),
        "cut.png": (whole.read_bytes()[:2000], ""),
    }
    for name, (content, text) in bad.items():
        (tmp_path / "ant" / name).write_bytes(content)
        for read, strict in ((image_files.digest, True), (image_files.decode, False)):
            with pytest.raises(CorruptImageError, match=f"{name}: {text}"), catch_warnings():
                simplefilter("error" if strict else "ignore")  # Pillow warns before it refuses
                read(tmp_path / "ant" / name)
    (tmp_path / "ant" / "broken_link.png").symlink_to("nowhere")
    split = folder(tmp_path)
    assert len(split) == 2
    assert split.notes[0].startswith("data.validation: skipped, 7 of 9 images cannot be read: ")


def test_the_first_of_several_frames_is_read_and_told(tmp_path: Path) -> None:
    for name, colour in (("ant", "red"), ("bee", "blue")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), colour).save(tmp_path / name / "0.png")
    moving = tmp_path / "ant" / "1.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    assert np.asarray(image_files.decode(moving)).min() == 255
    assert folder(tmp_path).notes == (
        f"data.validation: 1 images hold several frames, of which the first is read: {moving}",
    )
