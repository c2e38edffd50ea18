"""A small network and the contents of checkpoints of it."""

from collections import OrderedDict

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3, tied=False):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.wide = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, classes)
        self.again = nn.Linear(4, 4, bias=False)
        if tied:
            self.again.weight = self.wide.weight


SOURCE = Net()


STATE = SOURCE.state_dict()


def prefixed(prefix, state=STATE):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def lightning(**more):
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": prefixed("model.") | {"accuracy.total": torch.tensor(3)},
        "optimizer_states": [torch.optim.SGD(SOURCE.parameters(), 0.1).state_dict()],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 0.1},
        **more,
    }


def optimizer():
    optimizer = torch.optim.Adam(SOURCE.parameters())
    SOURCE.zero_grad()
    sum(p.sum() for p in SOURCE.parameters()).backward()
    optimizer.step = None  # not a step: the weights must stay
    return {"state": {0: {"exp_avg": torch.zeros(4, 1, 3, 3)}}, "param_groups": [{"lr": 0.1}]}
