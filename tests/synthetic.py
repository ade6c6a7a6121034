"""A photo-like picture made of numbers, for tests and for pictures that the project ships: no camera, no one's copyright."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def synthetic_photo(width: int = 512, height: int = 512, seed: int = 0) -> Image.Image:
    """An RGB landscape: evening sky with clouds, mountains, wooded hills, a house by a lake, its reflection.

    The same arguments give the same picture; another seed moves clouds, hills and trees. Any size from 1 x 1 pixel.
    """
    scale = 2  # drawn larger and scaled down, so that edges are smooth
    scene = _Scene(width * scale, height * scale, np.random.default_rng(seed))
    picture = Image.fromarray((scene.render().clip(0, 1) * 255).astype(np.uint8))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


class _Scene:
    """Painted from back to front on ``canvas`` (H, W, 3) in 0..1; ``x`` and ``y`` run from 0 to 1."""

    SHORE = 0.68  # y of the water line
    SUN = (0.70, 0.30)

    def __init__(self, width: int, height: int, rng: np.random.Generator):
        self.width, self.height, self.rng = width, height, rng
        self.x = np.linspace(0, 1, width)[None, :]
        self.y = np.linspace(0, 1, height)[:, None]
        self.aspect = width / height

    def render(self) -> np.ndarray:
        self.canvas = self.sky()
        self.ridge(0.42, 0.16, 3, (0.46, 0.50, 0.66), (0.62, 0.60, 0.70), snow=True)
        self.ridge(0.53, 0.08, 4, (0.30, 0.40, 0.44), (0.46, 0.52, 0.50))
        self.ridge(0.60, 0.05, 5, (0.20, 0.33, 0.18), (0.36, 0.45, 0.20))
        self.meadow()
        self.trees()
        self.house()
        self.water()
        return self.canvas + self.rng.normal(0, 0.012, self.canvas.shape[:2])[..., None]  # sensor noise

    def noise(self, x_cells: float, y_cells: float, octaves: int = 5) -> np.ndarray:
        """Fractal noise (H, W) in 0..1."""
        total, weight = np.zeros((self.height, self.width)), 0.0
        for octave in range(octaves):
            shape = [min(int(cells * 2**octave) + 2, limit + 1) for cells, limit in ((y_cells, self.height), (x_cells, self.width))]
            cells = Image.fromarray(self.rng.random(shape).astype(np.float32))
            total += np.asarray(cells.resize((self.width, self.height), Image.Resampling.BICUBIC)) * 0.5**octave
            weight += 0.5**octave
        return total / weight

    def blend(self, mask: np.ndarray, colour) -> None:
        self.canvas += mask[..., None] * (np.asarray(colour) - self.canvas)

    def sky(self) -> np.ndarray:
        stops = np.array([[0.20, 0.38, 0.66], [0.47, 0.62, 0.80], [0.93, 0.78, 0.62], [0.98, 0.70, 0.45]])
        up = np.broadcast_to((self.y / 0.55).clip(0, 1), (self.height, self.width))
        sky = np.stack([np.interp(up, [0, 0.4, 0.8, 1], stops[:, c]) for c in range(3)], -1)
        distance = np.hypot((self.x - self.SUN[0]) * self.aspect, self.y - self.SUN[1])
        sky += np.exp(-distance / 0.14)[..., None] * [0.55, 0.38, 0.12]
        clouds = ((self.noise(3, 9) - 0.52) * 5).clip(0, 1) * (1 - (self.y / 0.5)).clip(0, 1) ** 0.5
        lit = np.array([1.0, 0.93, 0.86]) - self.noise(4, 8)[..., None] * [0.16, 0.20, 0.16]
        sky += clouds[..., None] * 0.9 * (lit - sky)
        disc = ((0.036 - distance) * self.height / 3).clip(0, 1)
        return sky + disc[..., None] * (np.array([1.0, 0.97, 0.84]) - sky)

    def ridge(self, base: float, amplitude: float, cells: int, dark, light, snow: bool = False) -> None:
        """A chain of hills whose crest is noise and whose flank is lit from the sun's side."""
        crest = base - amplitude * (self.noise(cells, 0, 7)[:1] - 0.35) * 1.6
        mask = ((self.y - crest) * self.height / 2).clip(0, 1)
        texture = self.noise(cells * 6, cells * 8, 5)
        slope = np.gradient(texture, axis=1) * self.width / 14
        light_share = (0.5 + 0.35 * slope + 0.5 * (texture - 0.5)).clip(0, 1)[..., None]
        colour = np.asarray(dark) + light_share * (np.asarray(light) - np.asarray(dark))
        if snow:
            depth = 2.2 * (base - crest) - 0.02  # the higher the crest, the further down the snow reaches
            cap = ((depth - (self.y - crest) + 0.12 * (texture - 0.5)) * 30).clip(0, 1)
            colour = colour + cap[..., None] * ([0.93, 0.93, 0.97] - 0.2 * (1 - light_share) - colour)
        self.blend(mask, colour)

    def meadow(self) -> None:
        crest = 0.615 + 0.02 * np.sin(self.x * 5 + 0.6)
        mask = ((self.y - crest) * self.height / 2).clip(0, 1)
        grass = self.noise(60, 30, 4)[..., None]
        self.blend(mask, np.array([0.30, 0.42, 0.14]) + grass * [0.38, 0.32, 0.14])
        flowers = ((self.noise(170, 110, 1) - 0.83) * 12).clip(0, 1) * (self.y > crest + 0.012)
        self.blend(flowers * 0.8, (0.94, 0.84, 0.42))

    def trees(self) -> None:
        """Round crowns in clumps of light and dark leaves, on both sides of the house."""
        leaves = self.noise(70, 70, 3)
        places = [0.04, 0.11, 0.19, 0.80, 0.88, 0.96]
        for place in places:
            x, size = place + self.rng.uniform(-0.02, 0.02), self.rng.uniform(0.055, 0.085)
            foot = 0.66 + self.rng.uniform(-0.01, 0.012)
            trunk = (np.abs(self.x - x) * self.aspect < 0.008) & (self.y > foot - size) & (self.y < foot)
            self.blend(trunk * 1.0, (0.24, 0.17, 0.12))
            radius = np.hypot((self.x - x) * self.aspect, (self.y - (foot - 1.7 * size)) * 0.8) / size
            mask = ((1.05 - radius + 0.45 * (leaves - 0.5)) * 12).clip(0, 1)
            towards_sun = np.sign(self.SUN[0] - x) * (self.x - x) * self.aspect / size
            sunlit = (0.5 + 0.5 * towards_sun + 1.3 * (leaves - 0.5)).clip(0, 1)[..., None]
            self.blend(mask, np.array([0.08, 0.19, 0.09]) + sunlit * [0.36, 0.34, 0.08])

    def house(self) -> None:
        """A white house with a red roof, drawn as polygons."""
        picture = Image.fromarray((self.canvas.clip(0, 1) * 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)

        def polygon(points, colour):
            draw.polygon([((0.42 + px / self.aspect) * self.width, py * self.height) for px, py in points], fill=colour)

        def rectangle(x, y, width, height, colour):
            polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

        rectangle(-0.10, 0.545, 0.20, 0.12, (226, 216, 202))
        polygon([(0.10, 0.545), (0.17, 0.530), (0.17, 0.650), (0.10, 0.665)], (248, 234, 206))
        polygon([(-0.125, 0.550), (-0.09, 0.465), (0.13, 0.455), (0.10, 0.550)], (158, 62, 44))
        polygon([(0.10, 0.550), (0.13, 0.455), (0.19, 0.535)], (196, 92, 58))
        rectangle(-0.055, 0.435, 0.028, 0.05, (128, 72, 58))
        for x in (-0.078, 0.045):
            rectangle(x - 0.004, 0.571, 0.043, 0.048, (250, 246, 238))
            rectangle(x, 0.575, 0.035, 0.040, (62, 78, 98))
            rectangle(x + 0.016, 0.575, 0.003, 0.040, (250, 246, 238))
        rectangle(-0.018, 0.588, 0.038, 0.077, (104, 66, 42))
        picture = picture.filter(ImageFilter.GaussianBlur(self.height / 1500))
        plaster = (self.noise(90, 90, 2) - 0.5)[..., None] * 0.05
        self.canvas = np.asarray(picture) / 255 + plaster

    def water(self) -> None:
        """What lies above the shore, upside down, drawn out by ripples and darkened; a path of light under the sun."""
        shore = int(self.SHORE * self.height)
        rows = np.arange(shore, self.height)
        if not len(rows) or not shore:
            return
        depth = ((rows - shore) / max(1, self.height - shore))[:, None]
        ripples = self.noise(5, 70, 4)[shore:]
        shift = (ripples - 0.5) * (0.02 + 0.10 * depth)
        source_y = (2 * shore - rows[:, None] * 1.0 - 1 + shift * self.height).clip(0, shore - 1).astype(int)
        source_x = (np.arange(self.width)[None, :] + shift * 0.25 * self.width).clip(0, self.width - 1).astype(int)
        reflection = self.canvas[source_y, source_x] * [0.72, 0.80, 0.86] * (1 - 0.25 * depth[..., None])
        reflection += ((ripples - 0.5) * 0.25)[..., None]
        glitter = np.exp(-(((self.x - self.SUN[0]) * self.aspect / 0.07) ** 2)) * (ripples > 0.56) * (1 - 0.5 * depth)
        self.canvas[shore:] = reflection + glitter[..., None] * [0.45, 0.34, 0.18]
