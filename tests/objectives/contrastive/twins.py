"""The losses again from their definitions: loops over single numbers, no matrix.

Numbers are 0-d float64 tensors, so that autograd gives the twins' gradients as well. They
exponentiate without a shift, which float64 bears down to a temperature of 0.01.
"""

import torch


def number(x):
    return torch.tensor(float(x), dtype=torch.float64)


def dot(u, v):
    return sum((x * y for x, y in zip(u, v, strict=True)), number(0))


def cosine(u, v):
    return dot(u, v) / dot(u, u).sqrt() / dot(v, v).sqrt()


def weight(u, v, tau):
    return (cosine(u, v) / tau).exp()


def mean(values):
    values = list(values)
    return sum(values, number(0)) / len(values)


def info_nce(a, b, *, temperature):
    total = number(0)
    for n in range(len(a)):
        own = weight(a[n], b[n], temperature)
        total = total - (own / sum(weight(a[n], v, temperature) for v in b)).log()
        total = total - (own / sum(weight(u, b[n], temperature) for u in a)).log()
    return total / len(a)


def both_views(a, b):
    """All 2N rows, each as (row, its other view, all other rows)."""
    rows, n = [*a, *b], len(a)
    for i, row in enumerate(rows):
        j = (i + n) % (2 * n)
        yield row, rows[j], [rows[k] for k in range(2 * n) if k not in (i, j)]


def nt_xent(a, b, *, temperature):
    losses = []
    for row, other, negatives in both_views(a, b):
        own = weight(row, other, temperature)
        losses.append(-(own / (own + sum(weight(row, v, temperature) for v in negatives))).log())
    return mean(losses)


def debiased(a, b, *, temperature, prior):
    losses = []
    for row, other, negatives in both_views(a, b):
        own, count = weight(row, other, temperature), len(negatives)
        seen = sum((weight(row, v, temperature) for v in negatives), number(0))
        corrected = (seen - prior * count * own) / (1 - prior)
        least = count * number(-1 / temperature).exp()
        losses.append(-(own / (own + (corrected if corrected > least else least))).log())
    return mean(losses)


def moco(query, key, queue, *, temperature):
    losses = []
    for q, k in zip(query, key, strict=True):
        own = weight(q, k.detach(), temperature)
        rest = sum((weight(q, old, temperature) for old in queue), number(0))
        losses.append(-(own / (own + rest)).log())
    return mean(losses)


def supcon(a, b, labels, *, temperature, base_temperature=None):
    rows, classes = [*a, *b], [*labels.tolist(), *labels.tolist()]
    losses = []
    for i, row in enumerate(rows):
        others = [k for k in range(len(rows)) if k != i]
        total = sum(weight(row, rows[k], temperature) for k in others)
        same = [k for k in others if classes[k] == classes[i]]
        losses.append(-mean((weight(row, rows[k], temperature) / total).log() for k in same))
    return mean(losses) * (temperature / base_temperature if base_temperature else 1)


def columns(x):
    return [[row[j] for row in x] for j in range(x.shape[1])]


def covariance_of(u, v, *, divisor):
    u_mean, v_mean = mean(u), mean(v)
    terms = ((x - u_mean) * (y - v_mean) for x, y in zip(u, v, strict=True))
    return sum(terms, number(0)) / divisor


def barlow_twins(a, b, *, off_diagonal):
    total, n = number(0), len(a)
    for i, u in enumerate(columns(a)):
        for j, v in enumerate(columns(b)):
            u_variance = covariance_of(u, u, divisor=n) + 1e-5
            v_variance = covariance_of(v, v, divisor=n) + 1e-5
            entry = covariance_of(u, v, divisor=n) / (u_variance * v_variance).sqrt()
            total = total + ((entry - 1) ** 2 if i == j else off_diagonal * entry**2)
    return total


def vicreg(a, b, *, invariance, variance, covariance):
    n, d = a.shape
    apart = mean((a[i][j] - b[i][j]) ** 2 for i in range(n) for j in range(d))
    spread, shared = number(0), number(0)
    for view in (columns(a), columns(b)):
        for i, u in enumerate(view):
            deviation = (covariance_of(u, u, divisor=n - 1) + 1e-4).sqrt()
            if deviation < 1:
                spread = spread + (1 - deviation) / d / 2
            for j, v in enumerate(view):
                if i != j:
                    shared = shared + covariance_of(u, v, divisor=n - 1) ** 2 / d
    return invariance * apart + variance * spread + covariance * shared


def sce(a, b, *, temperature, target_temperature, positive):
    b, losses = b.detach(), []
    for i, u in enumerate(a):
        total = sum(weight(u, v, temperature) for v in b)
        others = [j for j in range(len(b)) if j != i]
        alike = sum((weight(b[i], b[j], target_temperature) for j in others), number(0))
        loss = -positive * (weight(u, b[i], temperature) / total).log()
        for j in others:
            share = weight(b[i], b[j], target_temperature) / alike
            loss = loss - (1 - positive) * share * (weight(u, b[j], temperature) / total).log()
        losses.append(loss)
    return mean(losses)


def co2(a, b, *, temperature):
    def shares(row, others):
        weights = [weight(row, v, temperature) for v in others]
        return [w / sum(weights) for w in weights]

    losses = []
    for i in range(len(a)):
        p, q = shares(a[i], b), shares(b[i], a)
        forth = sum(x * (x / y).log() for x, y in zip(p, q, strict=True))
        back = sum(y * (y / x).log() for x, y in zip(p, q, strict=True))
        losses.append((forth + back) / 2)
    return mean(losses)
