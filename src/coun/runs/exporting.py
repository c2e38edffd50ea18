"""Export the model of a run for other programs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from coun.data.views import Transform, Views
from coun.errors import CounError, one_line, unknown
from coun.files import cannot_write, write_json
from coun.models import Classifier, copy_model, save_weights
from coun.models.families.hf import quiet
from coun.models.inputs import run as run_model
from coun.models.outputs import candidates
from coun.runs.folder import WEIGHTS, expanded, read_record
from coun.runs.record import RunRecord
from coun.runs.run import Run
from coun.runs.serving import input_shape, load_model, recorded_views
from coun.trust import Trust

Format = Literal["safetensors", "torchscript", "pt2", "onnx", "hf"]
PREPROCESSING = "preprocessing.json"
_FILES: dict[Format, str] = {
    "safetensors": WEIGHTS,
    "torchscript": "model.pt",
    "pt2": "model.pt2",
    "onnx": "model.onnx",
    "hf": "",
}
_TOLERANCE = 1e-3  # of logits, relative to the largest, between a model and its export


def export(
    run: Run | str | Path,
    folder: str | Path,
    to: Format = "safetensors",
    *,
    build: Callable[[], nn.Module] | None = None,
    trust: Trust = False,
) -> Path:
    """Write the model of a run to a new *folder* in a format that other programs read.

    Beside the model is `preprocessing.json` with what must be done with images before it, as
    numbers, and the names of the classes. A traced or converted model is run on random inputs,
    and refused if its outputs differ from the model's.

    Args:
        run: a run, or its folder; the data are not needed.
        folder: must not exist.
        to: "safetensors" (weights by name), "torchscript", "pt2" (torch.export), "onnx" (needs
            the packages onnx and onnxscript), or "hf" (a folder for `from_pretrained`; for models
            of transformers only).
        build, trust: as for `load_model`.

    Returns: the folder.

    Raises: CounError if the folder exists or cannot be written, the format is unknown or does
        not fit the model, or the export differs from the model.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=20), "mlp", epochs=1)
    >>> target = export(run, os.path.join(tempfile.mkdtemp(), "served"), "pt2")
    >>> sorted(path.name for path in target.iterdir())
    ['model.pt2', 'preprocessing.json']
    """
    folder = expanded(folder)
    if to not in get_args(Format):
        raise unknown("format", to, get_args(Format))
    if folder.exists() or folder.is_symlink():
        raise CounError(f"{folder} exists; choose another folder, or delete it first")
    source: Path | None = None
    if isinstance(run, Run):
        model, record, views = run.model, run.record, run.data.views
    else:
        source = expanded(run)
        model, record = load_model(source, build=build, trust=trust), read_record(source)
        views = cast(Transform, recorded_views(source, record, trust))
    example = _example(record, views)
    network = copy_model(model).cpu()
    network.eval()
    document = _document(record, views, to, tuple(example.shape[1:]))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp")
        )
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        if to == "hf":
            _write_hf(network, temporary, record, views)
        elif to == "safetensors":
            save_weights(network, temporary / _FILES[to])
        else:
            logits = _Logits(network, record.model.head, example).eval()
            _write_graph(logits, example, temporary / _FILES[to], to)
        write_json(temporary / PREPROCESSING, document)
        temporary.chmod(0o755)
        os.rename(temporary, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


class _Logits(nn.Module):
    """A network that returns nothing but its logits, (B, ...) to (B, K)."""

    def __init__(self, model: nn.Module, head: str | None, example: Tensor) -> None:
        super().__init__()
        self.model = model
        classifier = Classifier(model, head, example=example)
        with torch.no_grad():
            logits = classifier(example).logits
            results = candidates(run_model(model, example))
        same = [
            number
            for number, tensor in enumerate(results)
            if tensor.shape == logits.shape and torch.allclose(tensor, logits)
        ]
        self.number = same[0] if same else 0

    def forward(self, images: Tensor) -> Tensor:
        return candidates(run_model(self.model, images))[self.number]


def _example(record: RunRecord, views: Transform | None) -> Tensor:
    """Two random inputs of the model."""
    shape, generator = input_shape(record, views), torch.Generator().manual_seed(0)
    if record.data.vocabulary is not None:
        return torch.randint(0, record.data.vocabulary, (2, *shape), generator=generator)
    return torch.rand(2, *shape, generator=generator)


def _document(
    record: RunRecord, views: Transform | None, to: Format, shape: tuple[int, ...]
) -> dict[str, Any]:
    """What a program that serves the model must know."""
    document: dict[str, Any] = {
        "format": to,
        "file": _FILES[to] or None,
        "model": record.model.name,
        "method": record.method.name,
        "weights_sha256": record.weights_sha256,
        "input": {
            "shape": list(shape),
            "dtype": "float32" if record.data.vocabulary is None else "int64",
            "layout": "batch, then this shape",
        },
        "output": "logits, one for each class",
        "classes": record.data.classes,
    }
    if isinstance(views, Views):
        normalised = "N" in views.letters
        document["preprocessing"] = {
            "decode": f"middle square, scaled to {record.data.origin['size']} pixels"
            if record.data.origin.get("size")
            else "as it is",
            "divide_pixels_by": 255,
            "resize": list(views.size) if views.size else None,
            "channels": views.channels or record.data.shape[0],
            "mean": list(views.mean) if normalised else None,
            "std": list(views.std) if normalised else None,
        }
    elif "columns" in record.data.origin.get("encoding", ()):
        document["preprocessing"] = {
            "transform": record.data.views,
            "columns": record.data.origin["encoding"]["columns"],
            "number": "(value - mean) / std",
            "category": "one input for each category: 1 for the value of the row, else 0",
        }
    else:
        document["preprocessing"] = {"transform": record.data.views}
    return document


def _write_graph(model: nn.Module, example: Tensor, path: Path, to: Format) -> None:
    """Trace or convert *model*, write it to *path*, and compare the outputs of both."""
    if to == "onnx":
        for package in ("onnx", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise CounError(
                    f"--to onnx needs the package {package}: pip install onnx onnxscript"
                )
    more = torch.cat([example, example[:1].flip(-1)])
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing, which the comparison below makes up for
            expected = model(more)
            result = _converted(model, example, path, to)(more)
    except Exception as error:  # exporters raise almost anything on networks they cannot take
        raise CounError(
            f"the model cannot be exported as {to}: {one_line(error)[:200]}; try another format"
        ) from error
    scale = max(1.0, float(expected.abs().max()))
    difference = float((result - expected).abs().max())
    if not difference <= _TOLERANCE * scale:
        raise CounError(
            f"the exported {to} model differs from the original by {difference:.3g} in its "
            "logits; try another format"
        )


def _converted(
    model: nn.Module, example: Tensor, path: Path, to: Format
) -> Callable[[Tensor], Tensor]:
    """Write *model* to *path* and return a function that runs what was written."""
    if to == "torchscript":
        torch.jit.trace(model, (example,), check_trace=False).save(str(path))  # type: ignore[no-untyped-call]
        return cast(Callable[[Tensor], Tensor], torch.jit.load(str(path)))  # type: ignore[no-untyped-call]
    batch = torch.export.Dim("batch", min=1)
    if to == "pt2":
        program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
        torch.export.save(program, str(path))
        return cast(Callable[[Tensor], Tensor], torch.export.load(str(path)).module())
    torch.onnx.export(
        model,
        (example,),
        str(path),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    if importlib.util.find_spec("onnxruntime") is None:
        return model
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])


def _write_hf(model: nn.Module, folder: Path, record: RunRecord, views: Transform | None) -> None:
    """Write a folder that `from_pretrained` of transformers reads."""
    if not hasattr(model, "save_pretrained"):
        raise CounError(
            f"{type(model).__name__} is not a model of transformers, which --to hf needs; use "
            "--to safetensors, pt2 or onnx"
        )
    network: Any = model
    network.config.id2label = dict(enumerate(record.data.classes))
    network.config.label2id = {name: number for number, name in enumerate(record.data.classes)}
    with quiet():
        network.save_pretrained(str(folder))
    if isinstance(views, Views) and len(record.data.shape) == 3:
        channels = views.channels or record.data.shape[0]
        size = views.size or tuple(record.data.shape[1:])
        mean, std = (list(x) * (channels if len(x) == 1 else 1) for x in (views.mean, views.std))
        settings = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": size[0], "width": size[1]},
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": "N" in views.letters,
            "image_mean": mean,
            "image_std": std,
        }
        write_json(folder / "preprocessor_config.json", settings)
    original = Path((record.model.name or "").removeprefix("hf:"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (original / name).is_file():
            shutil.copyfile(original / name, folder / name)
