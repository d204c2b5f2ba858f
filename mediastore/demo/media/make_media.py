"""Make the sample media files of the demo, all of them, from nothing.

Every picture, sound and document here is drawn or synthesised by this script; none is a copy.

Needs Python 3.11, from PyPI pillow (10.4 or newer, with its FreeType and WebP support, as in the
wheels), from Debian ffmpeg (with libopus, libvorbis, libmp3lame and libx264) and espeak-ng.

Run `python make_media.py` to write beside this script, `python make_media.py DIRECTORY` elsewhere.
The same versions of the tools give the same bytes: the noise is seeded and no clock is read.
No file is replaced until all have been made and the whole set is within `LIMIT_BYTES`.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

Point = tuple[float, float]
Size = tuple[int, int]

LIMIT_BYTES = 700_000
PHOTO: Size = (640, 480)
RATE_HZ = 16_000
VIDEO: Size = (320, 180)
FPS = 15
SECONDS = 2
INK = "#22303c"

font = ImageFont.load_default  # the font inside Pillow: the same letters on every machine


def gradient(size: Size, top: str, middle: str, bottom: str) -> Image.Image:
    """Return a picture that fades from `top` through `middle` to `bottom`."""
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom, mid=middle)


def grain(image: Image.Image, seed: int) -> Image.Image:
    """Return `image` with a camera's noise, so that it compresses like a photo."""
    width, height = image.width // 2, image.height // 2
    dots = Image.frombytes("L", (width, height), random.Random(seed).randbytes(width * height))
    return Image.blend(image, dots.resize(image.size).convert("RGB"), 0.05)


def ridge(rng: random.Random, size: Size, level: float, swing: float) -> list[Point]:
    """Return the outline of a mountain range around `level`, closed along the bottom edge."""
    width, height = size
    waves = [(swing / n, n * rng.uniform(5, 7.5) / width, rng.uniform(0, 6)) for n in (1, 2, 5, 11)]
    xs = range(0, width + 8, 4)
    outline = [(x, level - sum(a * math.sin(f * x + p) for a, f, p in waves)) for x in xs]
    return [*outline, (width + 4, height), (0, height)]


def glow(image: Image.Image, centre: Point, radius: float, colour: str) -> None:
    """Add a soft-edged disc of light to `image`."""
    light = Image.new("RGB", image.size)
    ImageDraw.Draw(light).circle(centre, radius, fill=colour)
    halo = light.filter(ImageFilter.GaussianBlur(radius * 0.8))
    image.paste(ImageChops.screen(ImageChops.screen(image, halo), light))


def make_lake(path: Path) -> None:
    """Save a photo-like JPEG: mountains at sunset, mirrored in a lake."""
    rng = random.Random(7)
    width, height = PHOTO
    shore = height * 5 // 8
    land = gradient((width, shore), "#2c4a7c", "#c98a8f", "#ffd9a0")
    glow(land, (430, 205), 26, "#ffe9b8")
    draw = ImageDraw.Draw(land)
    near = ((215, 42, "#8c7a98"), (245, 30, "#5d5a80"), (272, 18, "#34405f"), (292, 7, "#1a2a3a"))
    for level, swing, colour in near:
        draw.polygon(ridge(rng, land.size, level, swing), fill=colour)
    scene = ImageOps.expand(land, (0, 0, 0, height - shore))
    mirror = ImageOps.flip(land).filter(ImageFilter.GaussianBlur(1.5))
    mirror = Image.blend(mirror, Image.new("RGB", mirror.size, "#16324a"), 0.35)
    for y in range(height - shore):
        # Ripples widen towards the viewer.
        shift = round((1 + y / 25) * math.sin(y * y / 900 + y * 0.9))
        line = mirror.crop((0, y, width, y + 1))
        scene.paste(ImageChops.offset(line, shift, 0), (0, shore + y))
    grain(scene, 8).save(path, quality=82)


def draw_cat(draw: ImageDraw.ImageDraw) -> None:
    """Draw a sitting cat, on a canvas of twice the photo's size."""
    fur, inner = "#2b2430", "#7a4f5c"
    draw.arc((680, 560, 910, 860), 290, 150, fill=fur, width=44)
    draw.circle((827, 590), 22, fill=fur)
    draw.ellipse((450, 430, 790, 860), fill=fur)
    draw.ellipse((470, 250, 770, 510), fill=fur)
    for side, x in ((-1, 555), (1, 685)):
        draw.polygon([(x + side * 75, 350), (x + side * 65, 180), (x - side * 55, 270)], fill=fur)
        draw.polygon([(x + side * 50, 300), (x + side * 45, 225), (x - side * 10, 268)], fill=inner)
        draw.ellipse((x - 36, 345, x + 36, 405), fill="#d8e36a")
        draw.ellipse((x - 10, 347, x + 10, 403), fill="#14110f")
        draw.circle((x + 9, 360), 5, fill="white")
        for rise in (-26, 0, 26):
            draw.line([(620 + side * 60, 448), (620 + side * 200, 440 + rise)], "#cfc6cc", 3)
    draw.polygon([(602, 425), (638, 425), (620, 446)], fill="#c67e88")
    draw.arc((582, 420, 658, 474), 25, 155, fill=inner, width=5)
    draw.ellipse((530, 800, 615, 870), fill="#3a3140")
    draw.ellipse((625, 800, 710, 870), fill="#3a3140")


def make_cat(path: Path) -> None:
    """Save a photo-like JPEG: a cat on a wall under the moon."""
    rng = random.Random(3)
    scene = gradient((PHOTO[0] * 2, PHOTO[1] * 2), "#1b2350", "#5d4a83", "#f0a884")
    draw = ImageDraw.Draw(scene)
    for _ in range(120):
        star = (rng.uniform(0, 1280), rng.uniform(0, 480))
        draw.circle(star, rng.uniform(0.8, 2.6), fill="#e8e6ff")
    glow(scene, (1010, 210), 80, "#fff3d0")
    draw.polygon(ridge(rng, scene.size, 770, 60), fill="#453a63")
    scene = scene.filter(ImageFilter.GaussianBlur(3))
    draw = ImageDraw.Draw(scene)
    draw.rectangle((0, 850, 1280, 960), fill="#a8826f")
    for x in range(0, 1280, 140):
        for left, top in ((x, 854), (x - 70, 910)):
            shade = rng.choice(("#94604f", "#865546", "#7c4d40"))
            draw.rectangle((left + 4, top, left + 136, top + 50), fill=shade)
    draw_cat(draw)
    grain(scene.resize(PHOTO, Image.Resampling.LANCZOS), 4).save(path, quality=82)


def make_chart(path: Path) -> None:
    """Save a PNG chart: bars with a line over them; the numbers are invented."""
    deleted = (9, 15, 24, 29, 35, 48, 60, 55, 41, 34, 29, 20)
    grey = "#5b6b78"
    image = Image.new("RGB", (640, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.text((320, 18), "Files stored and deleted per hour", INK, font(22), "ma")
    draw.text((320, 48), "invented numbers, for the demo", grey, font(13), "ma")
    for value in range(0, 71, 10):
        y = 340 - value * 3.6
        draw.line([(60, y), (610, y)], fill="#dde3e8")
        draw.text((50, y), str(value), grey, font(13), "rm")
    for hour, value in enumerate((14, 22, 31, 28, 44, 57, 61, 49, 38, 33, 25, 18)):
        left = 72 + hour * 45
        draw.rectangle((left, 340 - value * 3.6, left + 30, 340), fill="#4c9be8")
        draw.text((left + 15, 348), f"{8 + hour}h", grey, font(13), "ma")
    line = [(87 + hour * 45, 340 - value * 3.6) for hour, value in enumerate(deleted)]
    draw.line(line, fill="#e4572e", width=3, joint="curve")
    for left, name, colour in ((230, "stored", "#4c9be8"), (340, "deleted", "#e4572e")):
        draw.rectangle((left, 376, left + 12, 388), fill=colour)
        draw.text((left + 20, 382), name, INK, font(14), "lm")
    image.quantize(64).save(path, optimize=True)


def make_screenshot(path: Path) -> None:
    """Save a PNG that looks like a screenshot of a chat with a bot."""
    image = Image.new("RGB", (720, 480), "#e9eef3")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 720, 56), fill="#35618e")
    draw.circle((34, 28), 18, fill="#f2b544")
    draw.text((34, 28), "M", "white", font(20), "mm")
    draw.text((66, 28), "Media bot", "white", font(20), "lm")
    y = 76
    for mine, words, clock in (
        (True, "Here is the cat from last night.", "21:04"),
        (False, "Got it: media://Q7h3vK0aZ2mXw9LrT5bN1c", "21:04"),
        (False, "Two workers are looking at it now.", "21:04"),
        (True, "And the invoice, as a PDF.", "21:05"),
        (False, "Stored. Both go away when this chat is released.", "21:05"),
        (True, "Release it, please.", "21:09"),
    ):
        width = int(font(16).getlength(words)) + 78
        x = 704 - width if mine else 16
        draw.rounded_rectangle((x, y, x + width, y + 42), 12, "#d3f1c4" if mine else "white")
        draw.text((x + 14, y + 21), words, INK, font(16), "lm")
        draw.text((x + width - 10, y + 36), clock, "#7d8b97", font(11), "rs")
        y += 54
    draw.rectangle((0, 424, 720, 480), fill="white")
    draw.rounded_rectangle((16, 434, 640, 470), 18, "#f1f4f7")
    draw.text((34, 452), "Message", "#9aa7b3", font(16), "lm")
    draw.circle((680, 452), 18, fill="#35618e")
    draw.polygon([(674, 443), (674, 461), (690, 452)], fill="white")
    image.quantize(128).save(path, optimize=True)


def make_sticker(path: Path) -> None:
    """Save a WebP sticker: a robot on a transparent background."""
    image = Image.new("RGBA", (1024, 1024))
    draw = ImageDraw.Draw(image)
    draw.line([(512, 120), (512, 240)], fill=INK, width=24)
    draw.circle((512, 110), 50, "#e4572e", INK, 16)
    for x in (130, 814):
        draw.rounded_rectangle((x, 400, x + 80, 580), 30, "#3d7fc4", INK, 16)
    draw.rounded_rectangle((180, 230, 844, 740), 110, "#7fb8ee", INK, 20)
    draw.rounded_rectangle((250, 310, 774, 660), 80, "#f4f9fd", INK, 14)
    for x in (380, 644):
        draw.circle((x, 450), 60, fill=INK)
        draw.circle((x + 22, 424), 18, fill="white")
    draw.arc((412, 440, 612, 610), 25, 155, fill=INK, width=20)
    draw.rounded_rectangle((300, 770, 724, 960), 60, "#3d7fc4", INK, 20)
    for x, colour in ((400, "#f2b544"), (512, "#7ccf6b"), (624, "#e4572e")):
        draw.circle((x, 864), 34, colour, INK, 10)
    image.resize((512, 512), Image.Resampling.LANCZOS).save(path, quality=80, method=6)


def make_loader(path: Path) -> None:
    """Save an animated GIF: twelve dots that chase each other, endlessly, in 12 frames."""
    frames: list[Image.Image] = []
    for step in range(12):
        frame = Image.new("RGB", (320, 320), "white")
        draw = ImageDraw.Draw(frame)
        for dot in range(12):
            age = (step - dot) % 12
            turn = math.tau * dot / 12
            centre = (160 + 110 * math.cos(turn), 160 + 110 * math.sin(turn))
            colour = f"hsl({200 + age * 10}, 70%, {45 + age * 4}%)"
            draw.circle(centre, 24 - age * 1.4, fill=colour)
        frames.append(frame.resize((160, 160), Image.Resampling.LANCZOS).quantize(64))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=80, loop=0)


def bell(notes: tuple[tuple[float, float], ...], seconds: float) -> bytes:
    """Return a mono 16-bit WAV in which each (start in seconds, pitch in Hz) rings out."""
    samples = [0.0] * round(seconds * RATE_HZ)
    for start, pitch in notes:
        first = round(start * RATE_HZ)
        for i in range(first, len(samples)):
            t = (i - first) / RATE_HZ
            # Without soft edges a note would begin, and the file end, with a click.
            edge = min(1.0, t / 0.004, (len(samples) - i) / 320)
            for partial, level in ((1, 0.25), (2, 0.1), (3.01, 0.05)):
                tone = math.sin(math.tau * pitch * partial * t)
                samples[i] += edge * level * math.exp(-t * 4 * partial) * tone
    data = io.BytesIO()
    with wave.open(data, "wb") as out:
        out.setparams((1, 2, RATE_HZ, len(samples), "NONE", "not compressed"))
        loud = (round(32_767 * max(-1.0, min(1.0, s))) for s in samples)
        out.writeframes(struct.pack(f"<{len(samples)}h", *loud))
    return data.getvalue()


def speech(words: str, voice: str) -> bytes:
    """Return `words` spoken by espeak-ng, as a WAV."""
    with tempfile.TemporaryDirectory() as scratch:
        spoken = Path(scratch, "speech.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", spoken, words], check=True)
        return spoken.read_bytes()


def encode(data: bytes, path: Path, *options: str, source: tuple[str, ...] = ()) -> None:
    """Let ffmpeg turn `data` into the file `path`; `source` says how to read `data`."""
    read = ["ffmpeg", "-loglevel", "error", "-y", *source, "-i", "pipe:0"]
    # Bit exact: no encoder version and no random stream serial in the file.
    exact = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact", "-threads", "1"]
    subprocess.run([*read, *options, *exact, str(path)], input=data, check=True)


def make_voice_note(path: Path) -> None:
    """Save a voice note in Ogg Opus, the way chat apps send them."""
    words = "Hi! I am sending you the photo of the cat. Please keep it until tomorrow."
    encode(speech(words, "en-us"), path, "-c:a", "libopus", "-b:a", "24k", "-ar", "48000")


def make_voice_reply(path: Path) -> None:
    """Save a voice message in Ogg Vorbis, by another voice."""
    words = "Thank you, the cat has arrived. I will delete the file when this chat is over."
    encode(speech(words, "en-gb+f3"), path, "-c:a", "libvorbis", "-q:a", "1")


def make_ding(path: Path) -> None:
    """Save a short notification sound as 16-bit PCM WAV."""
    path.write_bytes(bell(((0, 880), (0.15, 1318.5)), 1))


def make_jingle(path: Path) -> None:
    """Save an MP3: a rising scale and a chord."""
    notes = ((0, 262), (0.25, 330), (0.5, 392), (0.75, 523), (1.2, 262), (1.2, 330), (1.2, 392))
    encode(bell(notes, 3), path, "-c:a", "libmp3lame", "-b:a", "48k", "-ar", "44100")


def video_frame(number: int) -> Image.Image:
    """Return one frame of the clip: a ball that crosses the picture in two bounces."""
    progress = number / (FPS * SECONDS - 1)
    image = gradient((640, 360), "#9fd3f5", "#d8effb", "#fdf3dc")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 290, 640, 360), fill="#6bab5e")
    x = 60 + progress * 520
    lift = abs(math.sin(progress * math.tau))
    y = 276 - 180 * lift
    draw.ellipse((x - 44 + 22 * lift, 306, x + 44 - 22 * lift, 320), fill="#4f8a46")
    draw.circle((x, y), 36, fill="#e4572e")
    draw.circle((x - 8, y - 14), 9, fill="#f5a58d")
    return image.resize(VIDEO, Image.Resampling.LANCZOS)


def make_clip(path: Path) -> None:
    """Save a two-second MP4, H.264 with AAC: a ball bounces, each bounce rings."""
    frames = b"".join(video_frame(n).tobytes() for n in range(FPS * SECONDS))
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{VIDEO[0]}x{VIDEO[1]}", "-r", f"{FPS}")
    video = ("-c:v", "libx264", "-crf", "26", "-preset", "slow", "-pix_fmt", "yuv420p")
    audio = ("-c:a", "aac", "-b:a", "32k", "-movflags", "+faststart")
    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch, "bounce.wav")
        sound.write_bytes(bell(((0, 523.3), (0.98, 659.3)), SECONDS))
        encode(frames, path, "-i", str(sound), *video, *audio, source=raw)


def invoice_page() -> bytes:
    """Return the drawing commands of the PDF page; lengths are points from the bottom left."""
    rows = (
        (760, "/F2 24", ("Invoice 1007",)),
        (735, "/F1 11", ("A sample for the media store demo. Nobody owes anybody anything.",)),
        (690, "/F2 11", ("Item", "Quantity", "Amount")),
        (664, "/F1 11", ("Photo of a cat, on a wall, at dusk", "1", "12.00")),
        (642, "/F1 11", ("Voice notes, transcribed", "2", "8.50")),
        (608, "/F2 11", ("Total", "", "20.50")),
        (560, "/F1 11", ("This page is deleted when the last scope that holds it is released.",)),
    )
    commands = [f"72 {y} m 523 {y} l S\n" for y in (682, 630, 600)]
    for y, face, cells in rows:
        for x, words in zip((72, 330, 450), cells, strict=False):
            commands.append(f"BT {face} Tf {x} {y} Td ({words}) Tj ET\n")
    return "".join(commands).encode("ascii")


def make_invoice(path: Path) -> None:
    """Save a one-page A4 PDF with real text, in two of the fonts every reader has."""
    page = invoice_page()
    face = b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>"
    fonts = b"<< /Font << /F1 5 0 R /F2 6 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595 842] >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources %s >>" % fonts,
        b"<< /Length %d >>\nstream\n%sendstream" % (len(page), page),
        face % b"Helvetica",
        face % b"Helvetica-Bold",
        b"<< /Title (Invoice 1007) /Creator (make_media.py) >>",
    )
    # The second line, of bytes above 127, tells transfer programs that the file is binary.
    body = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for number, content in enumerate(objects, start=1):
        table += b"%010d 00000 n \n" % len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 7 0 R >>\n" % (len(objects) + 1)
    path.write_bytes(body + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(body))


MAKERS: dict[str, Callable[[Path], None]] = {
    "cat.jpg": make_cat,
    "lake.jpg": make_lake,
    "chart.png": make_chart,
    "screenshot.png": make_screenshot,
    "sticker.webp": make_sticker,
    "loader.gif": make_loader,
    "voice-note.ogg": make_voice_note,
    "voice-reply.ogg": make_voice_reply,
    "ding.wav": make_ding,
    "jingle.mp3": make_jingle,
    "clip.mp4": make_clip,
    "invoice.pdf": make_invoice,
}


def make_all(directory: Path) -> None:
    """Make every file in a scratch directory, then copy them all into `directory`."""
    with tempfile.TemporaryDirectory() as scratch:
        made = [Path(scratch, name) for name in MAKERS]
        for path in made:
            MAKERS[path.name](path)
        total = sum(path.stat().st_size for path in made)
        if total > LIMIT_BYTES:
            sys.exit(f"{total:,} bytes in all, over the limit of {LIMIT_BYTES:,}: nothing replaced")
        directory.mkdir(parents=True, exist_ok=True)
        for path in made:
            shutil.copyfile(path, directory / path.name)
            print(f"{path.stat().st_size:9,}  {path.name}")
    print(f"{total:9,}  in all")


def main() -> None:
    """Read the command line, look for the programs, make the files."""
    parser = argparse.ArgumentParser(description="Make the sample media files of the demo.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    missing = [tool for tool in ("ffmpeg", "espeak-ng") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; see the top of this script")
    make_all(arguments.directory)


if __name__ == "__main__":
    main()
