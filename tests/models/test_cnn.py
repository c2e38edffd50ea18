import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from coun.errors import CounError
from coun.models.cnn import cnn
from coun.models.mlp import mlp


def test_cnn_learns_the_digits():
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    order = torch.randperm(len(x))
    train, test = order[:1437], order[1437:]
    net = cnn(10, (1, 8, 8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(15):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    accuracy = (net.eval()(x[test]).argmax(1) == y[test]).float().mean()
    assert accuracy > 0.97


def test_cnn_is_small():
    with torch.device("meta"):
        assert sum(p.numel() for p in cnn(10, (1, 8, 8)).parameters()) == 110_698


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (3, 9, 13)])
def test_cnn_shapes(shape):
    with torch.device("meta"):
        net = cnn(7, shape)
        features = net[:-1](torch.zeros(2, *shape))
    assert features.shape == (2, 128)
    assert net.head(features).shape == (2, 7)


@pytest.mark.parametrize("shape", [(30,), (1, 8, 8), (3, 32, 32)])
def test_mlp_takes_any_shape(shape):
    net = mlp(5, shape)
    features = net[:-1](torch.randn(2, *shape))
    assert features.shape == (2, 256)
    assert net.head(features).shape == (2, 5)


def test_bad_shapes_are_refused():
    with pytest.raises(CounError, match="cnn takes images"):
        cnn(2, (30,))
    with pytest.raises(CounError, match="positive numbers"):
        mlp(2, ())
