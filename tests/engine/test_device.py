"""What is prepared for a GPU changes nothing on a CPU, and layouts are as asked for."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.data import Views
from coun.engine import Compute
from coun.engine.device import fixed_algorithms, seed_layers, sent
from coun.seeds import Seeds, restored_generator

CPU = Compute.choose("cpu", "fp32")


def test_on_a_cpu_views_have_the_stream_of_version_0_1() -> None:
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    path = (0, 3, 1, 7, "retain", 1)
    for letters in ("CHN", "CHJGN"):
        views = Views(letters)
        stream = CPU.view_generator(Seeds(5), views, path)
        expected = views(images, Seeds(5).torch("views", *path))
        assert torch.equal(views(images, stream), expected)


def test_the_device_has_a_stream_of_its_own_for_views_that_can_draw_there(monkeypatch) -> None:
    asked = []

    class Generator:
        def __init__(self, device: torch.device) -> None:
            asked.append(device.type)

        def manual_seed(self, number: int) -> int:
            return number

    gpu = Compute(torch.device("cuda"), "fp32")
    seeds, path = Seeds(5), (0, "retain", 1)
    other = gpu.view_generator(seeds, object(), path)  # a transform of a user, which draws on CPU
    assert other.device.type == "cpu"
    monkeypatch.setattr(torch, "Generator", Generator)
    assert gpu.view_generator(seeds, Views(), path) == seeds.number("views on the device", *path)
    assert asked == ["cuda"]
    assert seeds.number("views on the device", *path) != seeds.number("views", *path)


def test_a_batch_on_the_cpu_is_not_copied() -> None:
    batch = torch.zeros(3)
    assert sent(batch, torch.device("cpu")) is batch


def test_the_memory_format_is_recorded_and_gives_nearly_the_same(small) -> None:
    runs = []
    for layout in ("channels_last", "contiguous"):
        options = coun.Options(device="cpu", precision="fp32", memory_format=layout)
        runs.append(coun.train(small, "cnn", epochs=1, options=options))
        assert runs[-1].record.compute.memory_format == layout
    assert runs[0].record.identity != runs[1].record.identity
    usual = coun.train(small, "cnn", epochs=1, options=coun.Options("cpu", "fp32"))
    assert usual.record.identity == runs[0].record.identity
    for a, b in zip(*(run.model.parameters() for run in runs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    with pytest.raises(coun.CounError, match="expected channels_last or contiguous"):
        coun.Options(memory_format="nchw")


def test_views_are_contiguous_only_where_asked_for() -> None:
    images = Views("CN")(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.Generator())
    assert not CPU.laid_out(images).is_contiguous()
    contiguous = Compute.choose("cpu", "fp32", memory_format="contiguous")
    assert contiguous.laid_out(images).is_contiguous()


def test_a_gpu_computes_with_fixed_algorithms_and_the_settings_of_the_host_return(monkeypatch):
    flags = ("benchmark", "deterministic", "allow_tf32")
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = [getattr(cudnn, name) for name in flags]
    with fixed_algorithms(torch.device("cuda")):
        assert [getattr(cudnn, name) for name in flags] == [False, True, False]
    assert [getattr(cudnn, name) for name in flags] == before
    with fixed_algorithms(torch.device("cpu")):
        assert [getattr(cudnn, name) for name in flags] == before


def test_layers_draw_what_torch_would_draw_from_the_same_seed() -> None:
    with restored_generator():
        seed_layers(7, torch.device("cpu"))
        drawn = torch.rand(3)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))


def test_layers_on_a_gpu_without_a_number_draw_on_the_one_that_the_process_uses(monkeypatch):
    gpus = tuple(torch.Generator() for _ in range(3))
    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with restored_generator(devices=()):
        seed_layers(7, torch.device("cuda"))
        seed_layers(8, torch.device("cuda:2"))
    assert [gpu.initial_seed() for gpu in gpus[1:]] == [7, 8]
    assert gpus[0].initial_seed() not in (7, 8)
