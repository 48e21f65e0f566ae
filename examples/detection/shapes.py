#!/usr/bin/env python3
"""Writes images of several shapes, with a box around each and the class of each pixel.

    examples/detection/shapes.py FOLDER

In FOLDER/train and FOLDER/test are images/ and masks/, PNG files of 64 x 64 pixels, and boxes.json, COCO's JSON. Discs,
squares, triangles and crosses of random sizes and bright colours lie at random places on dark noise, and do not touch. A
mask has 0 where there is no shape, and 1 more than the shape's number where there is one.
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

SIDE, MOST = 64, 4  # pixels of an image; shapes in it
SHAPES = ("disc", "square", "triangle", "cross")


def draw_shape(shape, size):
    """The shape in white on a black square of this size."""
    picture = Image.new("L", (size, size))
    draw, end, arm = ImageDraw.Draw(picture), size - 1, size // 3
    if shape == "disc":
        draw.ellipse((0, 0, end, end), fill=255)
    elif shape == "square":
        draw.rectangle((0, 0, end, end), fill=255)
    elif shape == "triangle":
        draw.polygon([(end / 2, 0), (end, end), (0, end)], fill=255)
    else:
        draw.rectangle((arm, 0, end - arm, end), fill=255)
        draw.rectangle((0, arm, end, end - arm), fill=255)
    return picture


def random_place(size, placed):
    """A box (left, top, right, bottom) of this size that shares no pixel with the others, or None."""
    for _ in range(20):
        left, top = random.randint(0, SIDE - size), random.randint(0, SIDE - size)
        if all(left >= r or left + size <= l or top >= b or top + size <= t for l, t, r, b in placed):
            return left, top, left + size, top + size
    return None


def random_colour(darkest, brightest):
    return tuple(random.randint(darkest, brightest) for _ in range(3))


def make_image():
    """(image, mask, [(shape's number, box)]) of one to MOST shapes."""
    paper = random_colour(32, 80)
    noise = Image.frombytes("RGB", (SIDE, SIDE), random.randbytes(3 * SIDE * SIDE)).point(lambda value: value // 4)
    image = ImageChops.add(Image.new("RGB", (SIDE, SIDE), paper), noise, offset=-32)
    mask, objects = Image.new("L", (SIDE, SIDE)), []
    for _ in range(random.randint(1, MOST)):
        number, size, colour = random.randrange(len(SHAPES)), random.randint(12, 28), random_colour(130, 255)
        place = random_place(size, [box for _, box in objects])
        if place is None:
            continue
        picture = draw_shape(SHAPES[number], size)
        image.paste(colour, place[:2], picture)
        mask.paste(number + 1, place[:2], picture)
        left, top, right, bottom = picture.getbbox()
        objects.append((number, (place[0] + left, place[1] + top, place[0] + right, place[1] + bottom)))
    return image, mask, objects


def write(folder, count):
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        image, mask, objects = make_image()
        name = f"{number:05}.png"
        image.save(folder / "images" / name)
        mask.save(folder / "masks" / name)
        images.append({"id": number, "file_name": f"images/{name}", "width": SIDE, "height": SIDE})
        for shape, (left, top, right, bottom) in objects:
            box = [left, top, right - left, bottom - top]
            annotations.append({"id": len(annotations), "image_id": number, "category_id": shape, "bbox": box})
    categories = [{"id": number, "name": shape} for number, shape in enumerate(SHAPES)]
    boxes = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(boxes))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for part, seed, count in (("train", 1, 6000), ("test", 2, 500)):
        random.seed(seed)
        write(Path(sys.argv[1]) / part, count)


if __name__ == "__main__":
    main()
