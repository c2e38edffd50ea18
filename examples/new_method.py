"""A new method is one class.

In `src/coun/methods/` its file is found automatically; in another package, name the class in the
entry-point group `coun.methods`.
"""

from pydantic import Field
from pydantic.dataclasses import dataclass

import coun
from coun.engine import Phase
from coun.methods import Training
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class NegGradPlus(Training):
    """Decrease the retain loss and increase the forget loss (NegGrad+)."""

    name = "my_neggrad_plus"
    source = "Kurmanji et al., NeurIPS 2023"
    reads = frozenset({"retain", "forget"})

    alpha: float = Field(0.95, ge=0, le=1, description="Weight of the retain loss.")

    def plan(self, model, task):
        _, size = self.budget()
        loss = self.alpha * cross_entropy("retain") - (1 - self.alpha) * cross_entropy("forget")
        yield self.fit(Phase(loss, {"retain": size, "forget": size}))


data = coun.load("digits", limit=300)
split = coun.Split.random(data, 0.1, seed=0)
original = coun.train(data, "cnn", epochs=5)
unlearned = coun.unlearn(original, split, NegGradPlus(epochs=2, lr=0.02))
print(coun.evaluate(unlearned)["unlearn_accuracy"])
