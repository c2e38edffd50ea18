"""Methods by name, with settings as text."""

from __future__ import annotations

import pytest

from coun import CounError
from coun.methods import catalogue, find, make
from coun.methods.coun import CoUn
from coun.methods.retrain import Retrain
from coun.report.style import STYLES
from coun.runs.recipes import recipe


def test_text_becomes_numbers_and_flags() -> None:
    method = make("coun", {"lr": "0.02", "epochs": "7", "per_batch": "true"})
    assert method == CoUn(lr=0.02, epochs=7, per_batch=True)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cuon", {}, "unknown method 'cuon'.*did you mean 'coun'"),
        ("coun", {"temprature": "1"}, "unknown setting 'temprature'.*did you mean 'temperature'"),
        (
            "coun",
            {"temperature": "0"},
            "setting temperature of coun is '0'; expected greater than 0",
        ),
        ("coun", {"epochs": "many"}, "setting epochs of coun is 'many'; expected a valid integer"),
        ("coun", {"directions": "both"}, "expected 'sum' or 'mean'"),
    ],
)
def test_bad_settings_are_one_line(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(CounError, match=message) as error:
        make(name, settings)
    assert "\n" not in str(error.value)


IN_PAPERS = {
    "finetune": ("FT", "ft", "Fine-tune"),
    "neggrad": ("GA", "NG", "NegGrad"),
    "neggrad_plus": ("NG+", "NegGrad+", "neggrad+"),
    "random_label": ("RL", "Random-label"),
    "boundary_expand": ("BE",),
    "boundary_shrink": ("BS",),
    "l1_sparse": ("l1", "l1-sparse", "L1-Sparse"),
    "ssd": ("SSD",),
    "cf_k": ("CF-k", "cfk"),
    "eu_k": ("EU-k",),
    "influence": ("IU",),
    "salun": ("SalUn",),
    "not": ("NoT",),
    "coun": ("CoUn", "cuon"),
    "fed_eraser": ("FedEraser", "federaser"),
}


def test_a_name_of_the_papers_points_to_the_method() -> None:
    """All labels of pictures and tables as well, which are the names that papers use."""
    labels = {key: (style.label,) for key, style in STYLES.items() if key in catalogue()}
    for names in (IN_PAPERS, labels):
        for key, words in names.items():
            for word in words:
                if word != key:
                    with pytest.raises(CounError, match=rf"\(did you mean '{key}'\?\)"):
                        find(word)
    with pytest.raises(CounError, match="unknown method 'zzz'; known"):
        find("zzz")


def test_open_settings_follow_the_original() -> None:
    method = make("coun").with_defaults_from({"epochs": 182, "batch_size": 128})
    assert (method.epochs, method.batch_size) == (50, 128)  # type: ignore[attr-defined]
    assert make("coun", {"epochs": 3}).with_defaults_from({}).epochs == 3  # type: ignore[attr-defined]


def test_recipes() -> None:
    assert recipe("resnet18") == Retrain()
    assert (Retrain().epochs, Retrain().batch_size, Retrain().schedule) == (182, 256, "multistep")
    assert recipe("vgg16").warmup == pytest.approx(75 / 182)
    assert (recipe("resnet8").batch_size, recipe(None, {"epochs": 2}).epochs) == (64, 2)
