"""Crops of the photographs that scikit-image and scikit-learn ship, as samples for networks that look at pictures.

    photographs.py SIZE LEARNED CHECKED FOLDER

writes FOLDER/learned.npy and FOLDER/checked.npy, uint8 of shape (count, SIZE, SIZE, 3). Crops to learn from are taken from the left
halves of the photographs, crops to check on from the right halves, so that no pixel is in both. Places and widths (a quarter of
a half's shorter side to all of it) are drawn from a fixed seed.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

SEED = 1


def photographs():
    names = ["astronaut", "chelsea", "coffee", "rocket"]
    shipped = [getattr(skimage.data, name)() for name in names] + [skimage.data.stereo_motorcycle()[0]]
    return shipped + list(sklearn.datasets.load_sample_images().images)


def crop(random, picture, size):
    height, width, _ = picture.shape
    shorter = min(height, width)
    side = int(random.integers(max(size, shorter // 4), shorter + 1))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def main():
    size, learned, checked = (int(argument) for argument in sys.argv[1:4])
    pictures = photographs()
    random = np.random.default_rng(SEED)
    halves = {
        "learned": (learned, lambda picture: picture[:, : picture.shape[1] // 2]),
        "checked": (checked, lambda picture: picture[:, picture.shape[1] // 2 :]),
    }
    for name, (count, half) in halves.items():
        crops = [crop(random, half(pictures[at % len(pictures)]), size) for at in range(count)]
        np.save(Path(sys.argv[4]) / f"{name}.npy", np.stack(crops))


main()
