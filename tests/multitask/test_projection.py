"""The algebra of projections, beside torch.linalg and by its defining properties."""

import pytest
import torch

from coun.multitask.projection import (
    joined,
    leading_directions,
    orthonormal,
    removed,
)


@pytest.fixture
def gradients():
    torch.manual_seed(0)
    scales = torch.tensor([5.0, 3.0, 1.0, 0.2, 0.1, 0.05])
    return (torch.randn(6, 40) * scales[:, None]).double()


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99, 1.0])
def test_directions_are_the_fewest_that_hold_the_energy(gradients, energy):
    basis = leading_directions(gradients, energy)
    identity = torch.eye(basis.shape[1], dtype=basis.dtype)
    torch.testing.assert_close(basis.T @ basis, identity)

    def held(directions):
        return (gradients @ directions).square().sum() / gradients.square().sum()

    assert held(basis) >= energy - 1e-12
    if basis.shape[1] > 1:
        assert held(basis[:, :-1]) < energy


def test_directions_are_eigenvectors_of_the_second_moment(gradients):
    """An independent way to them: torch's eigenvalues of G^T G."""
    basis = leading_directions(gradients, 0.95)
    _, vectors = torch.linalg.eigh(gradients.T @ gradients)
    expected = vectors.flip(1)[:, : basis.shape[1]]
    torch.testing.assert_close(basis @ basis.T, expected @ expected.T)


def test_what_remains_is_orthogonal_and_nearest(gradients):
    torch.manual_seed(1)
    basis, g = leading_directions(gradients, 0.95), torch.randn(40).double()
    rest = removed(g, basis)
    assert (basis.T @ rest).abs().max() < 1e-12
    # The nearest point of the span is what least squares finds.
    solution = torch.linalg.lstsq(basis, g[:, None]).solution
    torch.testing.assert_close(g - (basis @ solution)[:, 0], rest)
    torch.testing.assert_close(removed(rest, basis), rest)


def test_a_joined_basis_spans_all(gradients):
    first, second = leading_directions(gradients[:3], 1.0), leading_directions(gradients[3:], 1.0)
    basis = joined([first, second, first])  # the third adds nothing
    assert basis.shape == (40, 6)
    for g in gradients:
        assert removed(g, basis).norm() < 1e-10 * g.norm()


def test_superfluous_and_zero_columns_add_no_direction():
    torch.manual_seed(0)
    a = torch.randn(20, 3)
    assert orthonormal(torch.cat([a, a @ torch.randn(3, 2)], 1)).shape == (20, 3)
    assert orthonormal(torch.zeros(20, 2)).shape == (20, 0)
    assert leading_directions(torch.zeros(2, 20)).shape == (20, 0)
    assert torch.equal(removed(a[:, 0], torch.zeros(20, 0)), a[:, 0])


def test_float32_is_precise_where_most_of_a_gradient_is_removed():
    torch.manual_seed(0)
    basis = orthonormal(torch.randn(10_000, 8))
    g = basis @ torch.randn(8) * 100 + 1e-3 * torch.randn(10_000)
    assert (basis.T @ removed(g, basis)).norm() < 1e-6 * g.norm()
