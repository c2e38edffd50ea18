"""Small networks for the audit's validation, many trained at once, and requests to forget.

A world is one draw of rows with one forget request. Its networks are multilayer perceptrons with
one hidden layer; those of a world are trained together, as one batch of matrices, each on rows
and with a random stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import coun
from coun.attacks import confidence, lira_offline, rmia_ratio, rmia_score, scaled_logit
from coun.audit.rank_tests import Groups
from coun.data.noisy_views import NOISE
from coun.models import Outputs
from coun.runs import Predictions
from coun.runs.shadow_models import halves

HIDDEN, BATCH, RATE = 64, 64, 0.1
RELEARN_RATE = 0.02
SIDE = 8  # pictures are averaged down to 8 x 8


@dataclass(frozen=True)
class Pool:
    """All pictures of a data set, (N, D) standardised, and their labels."""

    name: str
    images: Tensor
    labels: Tensor
    rows: tuple[int, int]  # training and test rows of a world
    epochs: int


@dataclass(frozen=True)
class World:
    """Rows, and which of the training rows must be forgotten.

    Attributes:
        random: whether the rows were drawn at random, and the audit may know it.
        x, y, test_x, test_y: training and test rows.
        forget: (N,) bool.
        canaries: rows (C, D) with wrong labels (C,), and whether a coin put each into training.
        owners: a number for each forgotten and each test row; rows of one owner are correlated.
        shadows: how many shadow models the audit may attack with.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    forget: Tensor
    random: bool
    canaries: tuple[Tensor, Tensor, Tensor] | None = None
    owners: tuple[np.ndarray, np.ndarray] | None = None
    shadows: int = 0


def digits() -> Pool:
    """The 1,797 digits of scikit-learn."""
    data = coun.load("digits")
    parts = [data.train, data.test]
    images = torch.cat([p.fetch(torch.arange(len(p))) for p in parts])
    return _pool("digits", images, torch.cat([p.labels for p in parts]), (400, 400), 40)


def cifar(folder: str, most: int = 12_000) -> Pool:
    """CIFAR-10 from a folder of parquet files."""
    train = coun.load(folder, limit=most).train
    steps = torch.arange(len(train)).split(1000)
    images = torch.cat([_small(train.fetch(rows).float()) for rows in steps])
    return _pool("cifar-8x8", images, train.labels, (1000, 1000), 30)


def _small(images: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(images, SIDE)


def _pool(name: str, images: Tensor, labels: Tensor, rows: tuple[int, int], epochs: int) -> Pool:
    x = _small(images.float()).flatten(1)
    return Pool(name, (x - x.mean(0)) / (x.std(0) + 1e-3), labels.long(), rows, epochs)


@dataclass
class Nets:
    """Weights of B networks: (B, D, H), (B, 1, H), (B, H, K), (B, 1, K)."""

    weights: list[Tensor]

    @classmethod
    def fresh(cls, count: int, inputs: int, classes: int, generator: torch.Generator) -> Nets:
        """He's initialisation; biases are zero."""
        shapes = [(inputs, HIDDEN), (1, HIDDEN), (HIDDEN, classes), (1, classes)]
        scales = [(2 / inputs) ** 0.5, 0.0, (1 / HIDDEN) ** 0.5, 0.0]
        drawn = [torch.randn((count, *s), generator=generator) for s in shapes]
        return cls([w * scale for w, scale in zip(drawn, scales, strict=True)])

    @classmethod
    def join(cls, several: list[Nets]) -> Nets:
        """All networks in one batch."""
        return cls([torch.cat(w) for w in zip(*(n.weights for n in several), strict=True)])

    def pick(self, place: int, times: int = 1) -> Nets:
        """Copies of one network."""
        return Nets([w[place : place + 1].repeat(times, 1, 1) for w in self.weights])

    def features(self, x: Tensor) -> Tensor:
        """(B, N, H) for x of shape (N, D) or (B, N, D)."""
        return torch.relu(x @ self.weights[0] + self.weights[1])

    def logits(self, x: Tensor) -> Tensor:
        """(B, N, K)."""
        return self.features(x) @ self.weights[2] + self.weights[3]


Loss = Callable[[Nets, Tensor, Tensor], Tensor]


def fit(
    nets: Nets,
    x: Tensor,
    y: Tensor,
    members: list[Tensor],
    *,
    generator: torch.Generator,
    steps: int,
    rate: float = RATE,
    loss: Loss | None = None,
) -> Nets:
    """Train each network on its own rows: SGD with momentum 0.9 and a cosine to zero.

    Args:
        members: row numbers of each network.
        loss: of a batch, summed over networks; cross entropy by default.
    """
    params = [w.clone().requires_grad_(True) for w in nets.weights]
    optimizer = torch.optim.SGD(params, lr=rate, momentum=0.9, weight_decay=5e-4)
    orders = [torch.empty(0, dtype=torch.int64) for _ in members]
    for step in range(steps):
        batch = []
        for k, rows in enumerate(members):
            while len(orders[k]) < BATCH:
                shuffled = rows[torch.randperm(len(rows), generator=generator)]
                orders[k] = torch.cat([orders[k], shuffled])
            batch.append(orders[k][:BATCH])
            orders[k] = orders[k][BATCH:]
        rows = torch.stack(batch)
        model = Nets(params)
        if loss is not None:
            total = loss(model, x[rows], rows)
        else:
            total = len(members) * cross_entropy(
                model.logits(x[rows]).flatten(0, 1), y[rows].flatten()
            )
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return Nets([p.detach() for p in params])


def predictions(nets: Nets, world: World) -> list[Predictions]:
    """What each network says of the three parts of *world*."""
    parts = {
        "forget": (world.x[world.forget], world.y[world.forget]),
        "retain": (world.x[~world.forget], world.y[~world.forget]),
        "test": (world.test_x, world.test_y),
    }
    labels = {name: y for name, (_, y) in parts.items()}
    features = {name: nets.features(x) for name, (x, _) in parts.items()}
    logits = {name: nets.logits(x) for name, (x, _) in parts.items()}
    return [
        Predictions({n: Outputs(logits[n][k], features[n][k]) for n in parts}, labels)
        for k in range(len(nets.weights[0]))
    ]


def nearby(nets: Nets, world: World) -> list[Groups]:
    """Log-odds of slightly changed copies of the forgotten and the test rows, of each network."""
    sides = []
    for x, y in ((world.x[world.forget], world.y[world.forget]), (world.test_x, world.test_y)):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        logits = nets.logits(x + NOISE * x.std(1, keepdim=True) * noise)
        sides.append(np.stack([_odds(each, y) for each in logits]))
    return [Groups(*each) for each in zip(*sides, strict=True)]


def shadow_scores(nets: Nets, world: World) -> dict[str, list[Groups]]:
    """LiRA's and RMIA's scores by name, of each network; empty where no shadow is wanted."""
    if not world.shadows:
        return {}
    generator = torch.Generator().manual_seed(1)
    x, y = torch.cat([world.x, world.test_x]), torch.cat([world.y, world.test_y])
    count = len(world.y)
    inside, spared = (halves(world.shadows, n, generator) for n in (count, len(world.test_y)))
    fresh = Nets.fresh(world.shadows, x.shape[1], 10, generator)
    members = [torch.nonzero(m).flatten() for m in inside]
    steps = max(60, 30 * count // BATCH)
    trained = fit(fresh, x, y, members, generator=generator, steps=steps)
    member = torch.cat([inside, spared], 1)
    phi, sure = (
        torch.stack([signal(logits, y) for logits in trained.logits(x)])
        for signal in (scaled_logit, confidence)
    )
    forget = torch.nonzero(world.forget).flatten()
    scores: dict[str, list[Groups]] = {"lira": [], "rmia": []}
    for logits in nets.logits(x):
        lira = lira_offline(scaled_logit(logits, y), phi, member, fixed_variance=True)
        ratio = rmia_ratio(confidence(logits, y), sure, member)
        for name, values in (("lira", lira), ("rmia", rmia_score(ratio, ratio[count:]))):
            scores[name].append(Groups(values[forget].numpy(), values[count:].numpy()))
    return scores


def _odds(logits: Tensor, labels: Tensor) -> np.ndarray:
    return scaled_logit(logits, labels).clamp(-100, 100).double().numpy()


REQUESTS: dict[str, Callable[[Pool, np.random.Generator], World]] = {}


def request(name: str) -> Callable[[Callable[..., World]], Callable[..., World]]:
    """Register a kind of request."""

    def register(make: Callable[..., World]) -> Callable[..., World]:
        REQUESTS[name] = make
        return make

    return register


def drawn(pool: Pool, rng: np.random.Generator, train: int | None = None) -> World:
    """Training and test rows by lot; nothing is to be forgotten yet."""
    rows = pool.rows if train is None else (train, pool.rows[1])
    order = torch.from_numpy(rng.permutation(len(pool.labels))[: sum(rows)])
    a, b = order[: rows[0]], order[rows[0] :]
    x, y = pool.images, pool.labels
    return World(x[a], y[a], x[b], y[b], torch.zeros(len(a), dtype=torch.bool), False)


def forgetting(world: World, rows: object, random: bool = False) -> World:
    """The same rows, with a request."""
    forget = torch.zeros(len(world.y), dtype=torch.bool)
    forget[torch.as_tensor(rows)] = True
    return replace(world, forget=forget, random=random)


def _lot(count: int, random: bool, train: int | None = None) -> Callable[..., World]:
    def make(pool: Pool, rng: np.random.Generator) -> World:
        world = drawn(pool, rng, train)
        return forgetting(world, rng.permutation(len(world.y))[:count], random)

    return make


for number in (1, 5, 20, 100):
    REQUESTS[f"random, {number} rows"] = _lot(number, True)
for number in (5, 20, 100):
    REQUESTS[f"a list by lot, {number} rows"] = _lot(number, False)


@request("random, half of the rows")
def half_of_all(pool: Pool, rng: np.random.Generator) -> World:
    """1,000 of 2,000 rows, or 200 of 400 digits."""
    world = drawn(pool, rng, 2000 if len(pool.labels) > 5000 else None)
    return forgetting(world, rng.permutation(len(world.y))[: len(world.y) // 2], True)


@request("a class")
def one_class(pool: Pool, rng: np.random.Generator) -> World:
    """All rows of a class, by its name or as a list: the audit sees the same."""
    world = drawn(pool, rng)
    return forgetting(world, world.y == int(rng.integers(10)))


@request("two classes")
def two_classes(pool: Pool, rng: np.random.Generator) -> World:
    """All rows of two classes."""
    world = drawn(pool, rng)
    return forgetting(world, torch.isin(world.y, torch.from_numpy(rng.permutation(10)[:2])))


@request("a class and 50 listed rows")
def mixed(pool: Pool, rng: np.random.Generator) -> World:
    """A class, and rows of others by lot, as one list."""
    world = drawn(pool, rng)
    forget = world.y == int(rng.integers(10))
    others = np.flatnonzero(~forget.numpy())
    forget[torch.from_numpy(rng.permutation(others)[:50])] = True
    return forgetting(world, forget)


@request("all but 40 rows")
def nearly_all(pool: Pool, rng: np.random.Generator) -> World:
    """Everything except 40 rows."""
    world = drawn(pool, rng)
    return forgetting(world, rng.permutation(len(world.y))[40:])


@request("the hardest tenth")
def hardest(pool: Pool, rng: np.random.Generator) -> World:
    """The rows that a network trained on other rows finds hardest."""
    world = drawn(pool, rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    nets = Nets.fresh(2, world.x.shape[1], 10, generator)
    order = torch.randperm(len(world.y), generator=generator)
    halves = list(order.chunk(2))
    nets = fit(nets, world.x, world.y, halves, generator=generator, steps=200)
    logits = nets.logits(world.x)
    loss = torch.empty(len(world.y))
    for k, other in enumerate(reversed(halves)):
        loss[other] = cross_entropy(logits[k][other], world.y[other], reduction="none")
    return forgetting(world, loss.argsort(descending=True)[: len(world.y) // 10])


@request("mislabelled rows")
def mislabelled(pool: Pool, rng: np.random.Generator) -> World:
    """A tenth of the rows, whose labels are wrong."""
    world = drawn(pool, rng)
    rows = torch.from_numpy(rng.permutation(len(world.y))[: len(world.y) // 10])
    y = world.y.clone()
    y[rows] = (y[rows] + torch.from_numpy(rng.integers(1, 10, len(rows)))) % 10
    return forgetting(replace(world, y=y), rows)


@request("outliers")
def outliers(pool: Pool, rng: np.random.Generator) -> World:
    """The tenth that is farthest from its ten nearest neighbours."""
    world = drawn(pool, rng)
    far = torch.cdist(world.x, world.x).topk(11, largest=False).values.mean(1)
    return forgetting(world, far.argsort(descending=True)[: len(world.y) // 10])


@request("one customer's rows, much alike")
def customer(pool: Pool, rng: np.random.Generator) -> World:
    """40 rows of one class that resemble each other most."""
    world = drawn(pool, rng)
    seed = int(rng.integers(len(pool.labels)))
    same = torch.nonzero(pool.labels == pool.labels[seed]).flatten()
    apart = torch.cdist(pool.images[[seed]], pool.images[same])[0]
    near = same[apart.argsort()[:40]]
    x, y = torch.cat([pool.images[near], world.x]), torch.cat([pool.labels[near], world.y])
    return forgetting(replace(world, x=x, y=y), torch.arange(40) + torch.zeros(40).long())


@request("near-copies stay")
def near_copies(pool: Pool, rng: np.random.Generator) -> World:
    """A tenth of the rows; a slightly changed copy of each is retained."""
    world = drawn(pool, rng)
    count = len(world.y) // 10
    noise = 0.1 * torch.from_numpy(rng.normal(size=world.x[:count].shape)).float()
    x = torch.cat([world.x, world.x[:count] + noise])
    y = torch.cat([world.y, world.y[:count]])
    return forgetting(replace(world, x=x, y=y), torch.arange(count))


@request("random, the test rows differ")
def shifted(pool: Pool, rng: np.random.Generator) -> World:
    """100 rows by lot; the test rows are blurred by noise."""
    world = _lot(100, True)(pool, rng)
    noise = torch.from_numpy(rng.normal(size=world.test_x.shape)).float()
    return replace(world, test_x=world.test_x + 0.7 * noise)


@request("random, a quarter of the training labels wrong")
def wrong_labels(pool: Pool, rng: np.random.Generator) -> World:
    """100 rows by lot; the test rows have the right labels."""
    world = _lot(100, True)(pool, rng)
    wrong = torch.from_numpy(rng.random(len(world.y)) < 0.25)
    shift = torch.from_numpy(rng.integers(1, 10, len(world.y)))
    return replace(world, y=torch.where(wrong, (world.y + shift) % 10, world.y))


@request("random, classes of unequal size")
def imbalanced(pool: Pool, rng: np.random.Generator) -> World:
    """100 rows by lot, where the smallest class has a tenth of the largest."""
    world = drawn(pool, rng, min(len(pool.labels) - pool.rows[1], 2 * pool.rows[0]))
    chance = torch.from_numpy(rng.random(len(world.y)))
    stay = chance < 10 ** (-world.y.double() / 9)
    stay_test = torch.from_numpy(rng.random(len(world.test_y))) < 10 ** (-world.test_y.double() / 9)
    world = replace(
        world,
        x=world.x[stay],
        y=world.y[stay],
        test_x=world.test_x[stay_test],
        test_y=world.test_y[stay_test],
    )
    return forgetting(world, rng.permutation(len(world.y))[:100], True)


@request("a class, customers with 5 rows each, --groups")
def customers(pool: Pool, rng: np.random.Generator) -> World:
    """A class; every row of the data has five near-copies, which stay together."""
    world = drawn(pool, rng)
    parts = []
    for x, y in ((world.x, world.y), (world.test_x, world.test_y)):
        first = torch.arange(len(y) // 5).repeat_interleave(5)
        noise = 0.3 * torch.from_numpy(rng.normal(size=(len(first), x.shape[1]))).float()
        parts += [x[first] + noise, y[first]]
    x, y, test_x, test_y = parts
    forget = y == int(rng.integers(10))
    numbers = torch.arange(len(y)) // 5, len(y) + torch.arange(len(test_y)) // 5
    owners = numbers[0][forget].numpy(), numbers[1].numpy()
    return World(x, y, test_x, test_y, forget, False, owners=owners)


@request("random, 100 rows, 8 shadow models")
def with_shadows(pool: Pool, rng: np.random.Generator) -> World:
    """100 rows by lot, with scores of LiRA and RMIA."""
    return replace(_lot(100, True)(pool, rng), shadows=8)


@request("a list by lot, 20 rows, 80 canaries")
def with_canaries(pool: Pool, rng: np.random.Generator) -> World:
    """20 listed rows, and with them the canaries that a coin put into training."""
    world = _lot(20, False)(pool, rng)
    x, y = world.test_x[:80], world.test_y[:80]
    y = (y + torch.from_numpy(rng.integers(1, 10, 80))) % 10
    member = torch.from_numpy(rng.random(80) < 0.5)
    return replace(
        world,
        x=torch.cat([world.x, x[member]]),
        y=torch.cat([world.y, y[member]]),
        forget=torch.cat([world.forget, torch.ones(int(member.sum()), dtype=torch.bool)]),
        test_x=world.test_x[80:],
        test_y=world.test_y[80:],
        canaries=(x, y, member),
    )


def pools(folder: str | None) -> dict[str, Callable[[], Pool]]:
    """The data sets of the validation by name; they are loaded where a world needs them."""
    makers: dict[str, Callable[[], Pool]] = {"digits": cache(digits)}
    if folder:
        makers["cifar-8x8"] = cache(partial(cifar, folder))
    return makers
