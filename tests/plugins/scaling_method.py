"""An example package that adds a method to coun; tests put its folder on the import path."""

from pydantic import Field
from pydantic.dataclasses import dataclass

from coun.engine import Edit
from coun.methods import Method
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class Scale(Method):
    """Multiply all weights by one factor."""

    name = "scale"
    source = "an example"
    trains = False

    factor: float = Field(-1.0, description="What all weights are multiplied by.")

    def plan(self, model, task):
        yield Edit("scale", lambda m: [p.data.mul_(self.factor) for p in m.parameters()])
