"""How fast a training learns: warmed up first, then along half a cosine down to a fiftieth, by its steps or by the clock."""

import math
import time

WARM_UP = 100  # steps
END = 0.02  # of the learning rate


class Schedule:
    """
    Args:
        steps: of the whole training, those of a checkpoint that is continued included.
        minutes: after which it ends at the latest.
        spent: the seconds of it that a checkpoint's training took; the others are counted from now.
    """

    def __init__(self, steps: int, minutes: float = math.inf, spent: float = 0.0):
        self.steps, self.seconds, self.began = steps, 60 * minutes, time.monotonic() - spent

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        """Whether the clock has ended it, as it did for a training that is started once more."""
        return self.spent >= self.seconds

    def __call__(self, step: int) -> tuple[float, bool]:
        """The share of the learning rate that a step has, the first being 0, and whether it is the last."""
        done = max(step / self.steps, self.spent / self.seconds)
        rate = min(1, (step + 1) / WARM_UP) * (END + (1 - END) * (1 + math.cos(math.pi * min(done, 1))) / 2)
        return rate, step + 1 >= self.steps or done >= 1
