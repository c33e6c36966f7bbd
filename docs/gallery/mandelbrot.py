"""A picture in tiles: each is a task, and is put in its place as soon as it is there."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from scaler import Client

WIDTH, HEIGHT, TILE, DEPTH = 480, 320, 80, 100


def tile(corner):
    """How many steps each point of a tile takes to leave, DEPTH for those that stay."""
    left, top = corner
    x = np.arange(left, left + TILE) * (3.0 / WIDTH) - 2.0
    y = np.arange(top, top + TILE) * (2.0 / HEIGHT) - 1.0
    start = x + 1j * y[:, None]
    point = np.zeros_like(start)
    steps = np.zeros(start.shape, np.uint8)
    for _ in range(DEPTH):
        inside = np.abs(point) <= 2.0
        point[inside] = point[inside] ** 2 + start[inside]
        steps[inside] += 1
    return corner, steps


def colored(steps):
    """Blue outside, to white at the edge, and black inside."""
    shade = np.sqrt(steps / DEPTH)
    colors = np.stack([shade, shade, 0.4 + 0.6 * shade], axis=-1)
    colors[steps == DEPTH] = 0
    return (255 * colors).astype(np.uint8)


def main(path):
    corners = [(left, top) for top in range(0, HEIGHT, TILE) for left in range(0, WIDTH, TILE)]
    picture = np.empty((HEIGHT, WIDTH), np.uint8)
    with Client() as client:
        for (left, top), steps in client.imap_unordered(tile, corners):
            picture[top : top + TILE, left : left + TILE] = steps
    Image.fromarray(colored(picture)).save(path)
    print(f"{len(corners)} tiles, {WIDTH} x {HEIGHT} points in {path.name}")
    print(f"{np.mean(picture == DEPTH):.1%} of them are in the set")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "mandelbrot.png"))
