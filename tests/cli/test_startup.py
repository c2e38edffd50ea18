"""The command line and `import coun` load heavy packages only where they are used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import coun

HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "pyarrow")
SHOW = (  # printed at exit, because shell completion ends the process itself
    "import atexit, sys; atexit.register(lambda: "
    "print('LOADED', *[name for name in {names} if name in sys.modules]))"
)


def run(code: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def loaded(code: str, names: tuple[str, ...] = HEAVY, **environment: str) -> list[str]:
    done = run(f"{SHOW.format(names=names)}\n{code}", **environment)
    assert "LOADED" in done.stdout, done.stderr
    return done.stdout.partition("LOADED")[2].split()


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "trian",
        "train --data digits --modle cnn",
        *(f"{command} --help" for command in coun.cli.COMMANDS),
    ],
)
def test_help_and_mistyped_words_are_answered_without_heavy_imports(words: str) -> None:
    code = f"import sys; sys.argv = ['coun', *{words.split()}]\nfrom coun.cli import main; main()"
    assert loaded(code) == []


def test_a_copy_that_is_not_installed_knows_its_version(tmp_path) -> None:
    hide = (
        "import importlib.metadata as metadata, sys\n"
        "real = metadata.distribution\n"
        "def distribution(name):\n"
        "    if name == 'coun':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = distribution\n"
    )
    done = run(
        f"{hide}sys.argv = ['coun', '--version']\nfrom coun.__main__ import main\nsys.exit(main())"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"coun, version {coun.__version__}\n"
    use = (
        f"{hide}import coun\nrun = coun.train(coun.load('digits', limit=50), 'mlp', epochs=1)\n"
        f"coun.Registry.init({str(tmp_path / 'registry')!r}, run)"
    )
    assert run(use).returncode == 0


def test_shell_completion_needs_no_heavy_import() -> None:
    code = "import sys; sys.argv = ['coun']\nfrom coun.cli import main; main()"
    words = {"_COUN_COMPLETE": "bash_complete", "COMP_WORDS": "coun un", "COMP_CWORD": "1"}
    assert loaded(code, **words) == []
    assert "plain,unlearn" in run(code, **words).stdout


def test_import_coun_alone_loads_nothing_heavy() -> None:
    assert loaded("import coun, coun.errors; coun.CounError") == []


def test_training_on_digits_loads_no_plotting_library() -> None:
    code = "import coun; coun.train(coun.load('digits', limit=50), 'mlp', epochs=1)"
    # sklearn imports pandas, and with it pyarrow, where pandas is installed.
    assert loaded(code, ("matplotlib",)) == []


def test_every_public_name_is_there_and_listed() -> None:
    code = "import coun; print([getattr(coun, name) for name in dir(coun)] and len(dir(coun)))"
    assert int(run(code).stdout) > len(coun.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        coun.trian  # noqa: B018


def test_coun_audit_is_the_package() -> None:
    import coun.audit as auditing

    assert auditing.Evidence is coun.audit.Evidence
    assert callable(coun.audit.audit)


@pytest.mark.parametrize("words", ["methods coun", "train --help"])
def test_output_does_not_depend_on_docstrings(words: str) -> None:
    code = f"import sys; sys.argv = ['coun', *{words.split()}]\nfrom coun.cli import main; main()"
    plain, stripped = run(code), run(code, "-OO")
    assert stripped.returncode == plain.returncode == 0
    assert "Traceback" not in stripped.stderr
    if "--help" in words:
        assert stripped.stdout == plain.stdout
