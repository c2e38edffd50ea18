"""Networks as users write them, and a batch for them."""

import torch
from torch import nn
from torch.nn import functional as F

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


class UserNet(nn.Module):
    def __init__(self, end=lambda logits, body: logits):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 4)
        self.end = end

    def body(self, x):
        return F.relu(self.fc1(self.drop(F.relu(self.bn(self.conv(x))).mean((2, 3)))))

    def forward(self, x):
        body = self.body(x)
        return self.end(self.fc2(body), body)


class AllConvolutional(nn.Module):
    """Ends as AllCNN does, or, with a ReLU, as SqueezeNet does; it has no linear layer."""

    def __init__(self, relu, inplace=False, end=lambda logits: logits):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU())
        self.last = nn.Conv2d(5, 4, 1)
        self.relu = nn.ReLU(inplace) if relu else nn.Identity()
        self.end = end

    def forward(self, x):
        x = self.relu(self.last(self.body(x)))
        return self.end(F.adaptive_avg_pool2d(x, 1).flatten(1))
