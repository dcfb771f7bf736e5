import math
from pathlib import Path
from typing import Any

import pytest

from swapbench.data.dataset import Dataset
from swapbench.data.samples import Sample
from swapbench.errors import BadDataset

torch = pytest.importorskip("torch")

from swapbench.workshop.train.mmd import (  # noqa: E402 - torch must be there first
    domain_discrepancy,
    median_bandwidth,
    mmd_squared,
    require_domains,
    squared_distances,
)

pytestmark = pytest.mark.slow


def kernel(squared: float, bandwidth: float = 1.0) -> float:
    """The kernel on paper."""
    return sum(math.exp(-squared / (2 * width * bandwidth)) for width in (0.5, 1.0, 2.0)) / 3


def column(*values: float) -> Any:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_the_squared_distances_are_those_on_paper_and_never_negative() -> None:
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0]])
    assert squared_distances(x, y).tolist() == [[1.0], [18.0]]
    far = torch.randn(50, 8) + 1000
    assert float(squared_distances(far, far).min()) >= 0


def test_the_bandwidth_is_the_median_squared_distance_and_carries_no_gradient() -> None:
    # distances of 0, 1, 3: 1, 4, 9
    assert median_bandwidth(column(0, 1, 3)) == 4.0
    # of 0, 1, 3, 7: 1, 4, 9, 16, 36, 49, of two middle ones the lower
    assert median_bandwidth(column(0, 1, 3, 7).requires_grad_()) == 9.0
    assert median_bandwidth(column(2, 2, 2)) > 0


def test_the_discrepancy_of_two_pairs_by_hand() -> None:
    # {0, 1} and {2, 3}: within k(1) each, across the mean of k(4), k(9), k(1), k(4)
    by_hand = 2 * kernel(1) - 2 * (2 * kernel(4) + kernel(9) + kernel(1)) / 4
    assert float(mmd_squared(column(0, 1), column(2, 3), 1.0)) == pytest.approx(by_hand, abs=1e-6)
    assert float(mmd_squared(column(0, 2), column(4, 6), 4.0)) == pytest.approx(by_hand, abs=1e-6)
    # unbiased: of one sample against itself it is below zero
    itself = 2 * kernel(1) - 2 * (2 + 2 * kernel(1)) / 4
    assert float(mmd_squared(column(0, 1), column(0, 1), 1.0)) == pytest.approx(itself, abs=1e-6)
    assert itself < 0


def test_it_is_about_zero_for_one_distribution_and_grows_with_a_shift() -> None:
    torch.manual_seed(0)
    means = []
    for shift in (0.0, 0.5, 1.0):
        found = []
        for _ in range(200):
            x, y = torch.randn(32, 16), torch.randn(32, 16) + shift
            found.append(float(mmd_squared(x, y, median_bandwidth(torch.cat([x, y])))))
        means.append(sum(found) / len(found))
    assert abs(means[0]) < 0.002
    assert means[1] == pytest.approx(0.066, abs=0.005)
    assert means[2] > 2 * means[1]


def test_the_mean_over_pairs_of_domains_by_hand() -> None:
    features = column(0, 1, 2, 3, 10, 11)
    domains = torch.tensor([0, 0, 1, 1, 2, 2])
    every = torch.ones(6, dtype=torch.long)
    pairs = [(column(0, 1), column(2, 3)), (column(0, 1), column(10, 11)), (column(2, 3), column(10, 11))]
    expected = sum(float(mmd_squared(*pair, 2.0)) for pair in pairs) / 3
    found = float(domain_discrepancy(features, domains, every, "all", 2.0))
    assert found == pytest.approx(expected, abs=1e-6)


def test_classes_in_other_parts_are_a_discrepancy_only_where_classes_are_not_looked_at() -> None:
    torch.manual_seed(1)
    # both domains have bona fide about -3 and attacks about 3, but 40 to 10 and 10 to 40
    bona_fide = torch.tensor([1] * 40 + [0] * 10 + [1] * 10 + [0] * 40)
    domains = torch.tensor([0] * 50 + [1] * 50)
    features = torch.randn(100, 4) + torch.where(bona_fide == 1, -3.0, 3.0)[:, None]
    values = {
        over: float(domain_discrepancy(features, domains, bona_fide, over))
        for over in ("all", "each_class", "bona_fide")
    }
    assert values["all"] > 0.2
    assert abs(values["each_class"]) < 0.05
    assert abs(values["bona_fide"]) < 0.05


def test_only_bona_fide_does_not_see_how_attacks_differ() -> None:
    bona_fide = torch.tensor([1, 1, 0, 0, 1, 1, 0, 0])
    domains = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    features = column(0, 1, 5, 6, 0.5, 1.5, 50, 51)
    live = mmd_squared(column(0, 1), column(0.5, 1.5), 4.0)
    attacks = mmd_squared(column(5, 6), column(50, 51), 4.0)
    found = [
        float(domain_discrepancy(features, domains, bona_fide, over, 4.0))
        for over in ("bona_fide", "each_class")
    ]
    assert found == pytest.approx([float(live), float(live + attacks) / 2], abs=1e-6)


def test_its_own_bandwidth_makes_it_independent_of_the_scale_of_features() -> None:
    torch.manual_seed(2)
    features, domains, real = torch.randn(20, 3), torch.arange(20) % 2, torch.arange(20) // 10
    features[domains == 1] += 1
    once, scaled = (domain_discrepancy(features * scale, domains, real, "each_class") for scale in (1, 100))
    assert float(once) == pytest.approx(float(scaled), rel=1e-4)


def test_the_gradient_pulls_domains_together_and_is_finite_at_equal_points() -> None:
    features = column(0.0, 1.0, 1.0, 2.0).double().requires_grad_()
    domains, real = torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.long)
    domain_discrepancy(features, domains, real, "each_class", 1.0).backward()
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())
    assert float(features.grad[:2].sum()) < 0 < float(features.grad[2:].sum())
    checked = torch.randn(6, 2, dtype=torch.double, requires_grad=True)
    six = torch.tensor([0, 0, 0, 1, 1, 1]), torch.ones(6, dtype=torch.long)
    assert torch.autograd.gradcheck(lambda one: domain_discrepancy(one, *six, "all", 1.5), (checked,))


def test_too_few_rows_are_left_out_and_nothing_left_is_zero_with_a_gradient() -> None:
    features = column(0, 1, 2, 3, 9).requires_grad_()
    real = torch.ones(5, dtype=torch.long)
    two = domain_discrepancy(features, torch.tensor([0, 0, 1, 1, 2]), real, "all", 1.0)
    assert float(two.detach()) == pytest.approx(float(mmd_squared(column(0, 1), column(2, 3), 1.0)))
    none = domain_discrepancy(features, torch.zeros(5, dtype=torch.long), real, "all", 1.0)
    none.backward()
    assert float(none.detach()) == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_one_domain_is_refused_by_name() -> None:
    def of(*domains: str) -> Dataset:
        samples = tuple(
            Sample("n", Path("n"), 0, "s", "attack", "print", domain, "", "", "dev", "", None, "n")
            for domain in domains
        )
        return Dataset("made", simulated=True, notice="", root=Path(), splits={"dev": samples})

    require_domains(of("A", "B", "A"), "dev")
    with pytest.raises(BadDataset, match=r"dev of made has only A\. Take several sources"):
        require_domains(of("A", "A"), "dev")
    with pytest.raises(BadDataset, match="only one without a name"):
        require_domains(of(""), "dev")
