"""Makes tests/preprocess/images: tiny PNG and JPEG files of every kind, what Pillow reads from them, and resizes.

Needs numpy, safetensors and pillow < 13 (13 swaps the two passes of a resize where the height shrinks far more than
the width, which moves the last bit):  python tests/preprocess/make_images.py
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parent / "images"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
rng = np.random.default_rng(0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scanlines(rows, depth):
    out = b""
    for row in rows.reshape(rows.shape[0], -1):
        if depth < 8:
            per = 8 // depth
            row = np.pad(row, (0, -len(row) % per)).reshape(-1, per) @ (1 << (depth * np.arange(per)[::-1]))
        out += b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes()
    return out


def png(width, height, color_type, depth, interlaced, transparency=None):
    pixels = rng.integers(0, 1 << depth, (height, width, CHANNELS[color_type]))
    if (color_type, depth) == (0, 16):
        pixels >>= 7  # on both sides of 255, where Pillow saturates
    parts = [pixels[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [pixels]
    data = b"".join(scanlines(part, depth) for part in parts if part.size)
    chunks = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced))
    if color_type == 3:
        chunks += chunk(b"PLTE", rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes())
    if transparency:
        chunks += chunk(b"tRNS", transparency)
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def smooth(width, height):
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([128 + 100 * np.sin(x / 7), 3 * x + 2 * y, 255 * ((x // 9 + y // 5) % 2)], -1)
    return Image.fromarray(np.clip(waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8))


def main():
    OUT.mkdir(exist_ok=True)
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    transparency = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}
    for color_type, kinds in depths.items():
        for i, depth in enumerate(kinds):
            interlaced = i % 2 if color_type != 6 else 1 - i
            see_through = transparency.get(color_type) if i == 0 else None
            (OUT / f"type{color_type}_depth{depth}.png").write_bytes(
                png(13, 9, color_type, depth, interlaced, see_through))
    long = zlib.compress(2000 * b"a long text ", 9)
    texts = chunk(b"zTXt", b"Comment\0\0" + long) + chunk(b"iTXt", b"Comment\0\1\0\0\0" + long)
    plain = (OUT / "type2_depth8.png").read_bytes()
    (OUT / "texts.png").write_bytes(plain[:33] + texts + plain[33:])  # behind IHDR; larger unpacked than the file
    for name, sampling in (("444", "4:4:4"), ("422", "4:2:2"), ("420", "4:2:0")):
        smooth(37, 23).save(OUT / f"baseline_{name}.jpg", quality=70, subsampling=sampling)
    smooth(41, 30).save(OUT / "progressive_420.jpg", quality=85, subsampling="4:2:0", progressive=True)
    smooth(19, 17).convert("L").save(OUT / "grey.jpg", quality=80)
    decoded = {p.name: np.array(Image.open(p).convert("RGB")) for p in sorted(OUT.glob("*.png")) + sorted(
        OUT.glob("*.jpg")) if p.name not in ("cmyk.jpg", "texts.png")}
    save_file(decoded, OUT / "decoded.safetensors")
    smooth(16, 16).convert("CMYK").save(OUT / "cmyk.jpg", quality=80)

    resized = {}
    sizes = [(1, 1, 5, 3), (7, 5, 3, 11), (61, 47, 28, 28), (33, 80, 56, 28), (100, 3, 9, 40), (224, 9, 224, 4),
             (9, 120, 9, 56), (2, 2, 56, 56), (160, 90, 56, 56), (55, 57, 56, 56), (200, 150, 1, 1)]
    for width, height, to_width, to_height in sizes:
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        name = f"{width}x{height}"
        resized[f"{name}.image"] = image
        resized[f"{name}.resized"] = np.array(Image.fromarray(image).resize((to_width, to_height), Image.BILINEAR))
    save_file(resized, OUT / "resized.safetensors")


main()
