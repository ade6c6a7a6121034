"""What the fusion's pictures are judged by in training: the target, its statistics, its style's name, and the photo that it was."""

import torch
import torch.nn.functional as F
from perceptual import SqueezeNetFeatures, content_distance, gram_distance, likeness, own_photo_loss, statistics_distance
from precision import mixed
from probe import StyleProbe

from stylemamba.losses import TokenGridLoss

TERMS = ("latent", "coarse", "pixel", "bustle", "steps", "perceptual", "texture", "moments", "content", "likeness", "probe")


BUSTLE_SIZE = 8  # px, within which strokes may lie elsewhere
BLOWN = 0.85  # of all channels of a photo, above which an area passes for blown out
GLARE = 8.0  # how much more such areas weigh
DEPICTED = 0.3  # weight of what a whole picture depicts, beside where it depicts it
LIKENESS = 8.0  # weight of what an art style's picture lacks in likeness to its photo,
KEPT = 0.12  # the target's own likeness and this much being enough
FAINT = 0.02  # mean difference of neighbouring pixels, below which an area passes for flat
STAIRS = 80.0  # weight of the squared excess of edges on the tokens' borders
STEP_AREA = 4  # tokens, a side of the areas whose edges are compared with the tokens' borders


def bustle(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) -> (B, 1, h, w): the logarithm of how much neighbouring pixels differ, place by place."""
    grey = pictures.mean(1, keepdim=True)
    down, right = (F.avg_pool2d(grey.diff(dim=d).abs(), BUSTLE_SIZE, BUSTLE_SIZE // 2) for d in (2, 3))
    return torch.log(FAINT + down[..., : right.shape[3]] + right[:, :, : down.shape[2]])


def steps(pictures: torch.Tensor, period: int) -> torch.Tensor:
    """(B, 3, H, W) -> (B, 2, h, w), 0 to 1: how much neighbouring pixels differ at one place of a token and not at another, along columns
    and along rows, area by area; 1 where all edges lie on the tokens' borders.

    It is the first harmonic of the differences over ``period`` pixels, beside their mean.
    """
    grey, area, found = pictures.mean(1, keepdim=True), STEP_AREA * period, []
    for edges in (grey.diff(dim=2)[..., 1:].abs(), grey.diff(dim=3)[:, :, 1:].abs().mT):
        angle = torch.arange(edges.shape[2], device=edges.device) * (2 * torch.pi / period)
        waves = torch.cat([edges * angle.cos()[:, None], edges * angle.sin()[:, None], edges], 1)
        cosine, sine, mean = F.avg_pool2d(waves, area, area // 2).unbind(1)
        steps = (cosine.square() + sine.square() + 1e-10).sqrt() / (FAINT + mean)
        found.append(steps if not found else steps.mT)
    return torch.stack(found, 1)


class PictureLosses:
    """
    Args:
        features: SqueezeNet's with five taps, the last of which says what is depicted.
        probe: knows the art styles.
        grid: side of the fusion's tokens in pixels.
        content: weight of whose photo a picture still is.
        others: (N, C), the last tap's features of many whole photos, averaged over all places: what a whole picture's own is told from.
    """

    def __init__(self, features: SqueezeNetFeatures, probe: StyleProbe, grid: int, content: float, others: torch.Tensor):
        self.features, self.probe, self.content, self.others, self.tokens = features, probe, content, others, grid
        # A loss on texture statistics invites a grid on flat areas.
        self.grid = TokenGridLoss(grid)

    def look(self, made: torch.Tensor, pictures: torch.Tensor, photos: torch.Tensor) -> tuple[list[torch.Tensor], ...]:
        """The features of all three; of the fusion's pictures with a graph, and as they will be seen, without what is beyond 0..1."""
        with mixed(made.device):
            seen = self.features(made.clamp(0, 1))
            with torch.no_grad():
                return seen, self.features(pictures), self.features(photos)

    def __call__(
        self,
        made: torch.Tensor,
        pictures: torch.Tensor,
        photos: torch.Tensor,
        seen: tuple[list[torch.Tensor], ...],
        latent: torch.Tensor,
        labels: list[str | None],
        painted: torch.Tensor,
        whole: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss, and the mean of each of `TERMS` (NaN where it does not apply), without a graph.

        Args:
            made, pictures, photos: (B, 3, H, W) in 0..1: the fusion's, the targets, and what both came from.
            seen: what `look` saw of them.
            latent: (B,), distance of the latents.
            labels: the names of the pictures' art styles.
            painted: (B,) bool, which targets are loosely drawn, in strokes that may lie elsewhere.
            whole: whether the pictures are whole; the probe sees only these, as it learned them.
        """
        # Colours and shapes are asked for at a fifth of the resolution; finer, strokes may fall elsewhere than the target's, if their
        # statistics fit. That holds for a painter's strokes more than for an effect's textures, which repeat from the picture's corner.
        # A photo's suns and blown skies catch the eye, and are so few that a mean over all pictures hardly holds them.
        glare = 1 + GLARE * (F.avg_pool2d(photos, 5).amin(1, keepdim=True) > BLOWN)
        coarse = (glare * (F.avg_pool2d(made, 5) - F.avg_pool2d(pictures, 5)).abs()).mean((1, 2, 3))
        pixel = (made - pictures).abs().mean((1, 2, 3))
        # Statistics of a whole picture say how much texture there is, not where: they would have it on walls and skies that the target
        # leaves flat.
        busy = (bustle(made) - bustle(pictures)).abs().mean((1, 2, 3))
        # A decision that each token takes alone ends at its borders, and a shape's outline in stairs.
        stairs = F.relu(steps(made, self.tokens) - steps(pictures, self.tokens)).square().mean((1, 2, 3))
        (*got, depicted), (*wanted, wanted_last), (*_, own) = seen
        perceptual, texture = content_distance(got, wanted), gram_distance(got, wanted)
        moments = statistics_distance([*got, depicted], [*wanted, wanted_last])
        content = own_photo_loss(depicted, own)
        if whole:  # where it depicts what, and what it depicts at all
            content = content + DEPICTED * own_photo_loss(depicted, own, places=1, others=self.others)
        # A teacher hides more of a photo than a style needs to: its lines can lie where the photo's are.
        art = torch.tensor([label is not None for label in labels], device=made.device)
        lacking = art * F.relu(likeness(pictures, photos) + KEPT - likeness(made, photos))
        place = torch.where(painted, 0.25, 1.0)
        losses = place * (0.4 * latent + pixel + 0.3 * perceptual) + 2.5 * coarse + 0.1 * busy + STAIRS * stairs
        losses = losses + torch.where(painted, 1.5, 0.8) * texture + torch.where(painted, 1.5, 0.6) * moments
        losses = losses + self.content * content + LIKENESS * lacking
        loss, named = losses.mean() + 20 * self.grid(made, pictures), losses.new_tensor(torch.nan)
        judged = [row for row, label in enumerate(labels) if label in self.probe.classes]
        if whole and judged:
            asked = torch.tensor([self.probe.classes.index(labels[row]) for row in judged], device=made.device)
            cross_entropy = F.cross_entropy(self.probe(made[judged]), asked)
            loss, named = loss + 0.5 * len(judged) / len(labels) * cross_entropy, cross_entropy
        terms = (latent, coarse, pixel, busy, stairs, perceptual, texture, moments, content, lacking)
        return loss, torch.stack([*(term.mean() for term in terms), named]).detach()
