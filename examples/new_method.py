"""A new method: one class. In `src/coun/methods/` its file is found by itself; from another
package, name the class in the entry-point group `coun.methods`."""

from pydantic import Field
from pydantic.dataclasses import dataclass

import coun
from coun.engine import Fit, Phase
from coun.methods import Training
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class NegGradPlus(Training):
    """Descend on retain, climb on forget (NegGrad+)."""

    name = "my_neggrad_plus"
    source = "Kurmanji et al., NeurIPS 2023"
    reads = frozenset({"retain", "forget"})

    alpha: float = Field(0.95, ge=0, le=1, description="weight of the retain loss")

    def plan(self, model, task):
        epochs, size = self.budget()
        loss = self.alpha * cross_entropy("retain") - (1 - self.alpha) * cross_entropy("forget")
        sweep = Phase(loss, {"retain": size, "forget": size})
        yield Fit((sweep,), epochs, self.optimization())


data = coun.load("digits", limit=300)
split = coun.Split.random(data, 0.1, seed=0)
original = coun.train(data, "cnn", epochs=5)
forgot = coun.unlearn(original, split, NegGradPlus(epochs=2, lr=0.02))
print(coun.evaluate(forgot)["unlearn_accuracy"])
