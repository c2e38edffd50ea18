"""The registry: one folder with deletion requests, versions of a model, and a ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.certificates import Verification, load_public_key
from coun.certificates import verify as verify_certificate
from coun.data import Data, Split
from coun.data.keyed_rows import KEYS
from coun.data.near_copies import SIMILARITY
from coun.data.sources import require_trusted_source
from coun.errors import CounError, TamperingFound, listed
from coun.files import cannot_write
from coun.ledger import Entry
from coun.registry import beginning, intake, older_versions, recovery
from coun.registry import rows as request_rows
from coun.registry.checking import find_problems
from coun.registry.gates import RETAIN_CHANGE, Gates
from coun.registry.layout import LOCK, SIGNING_KEY, version_folder
from coun.registry.planning import Fulfilled, Plan
from coun.registry.reading import RegistryReader, silent
from coun.registry.summary import RequestSummary
from coun.registry.versions import Numbers
from coun.runs import Options, Run
from coun.runs.choice import BUDGET
from coun.runs.folder import expanded, read_record
from coun.runs.recorded_data import recorded_data


class Registry(RegistryReader):
    """Deletion requests for one model, from intake to certificate.

    A registry is a folder: `registry.sqlite` with the ledger, `versions/<n>/` with the run
    folders, `certificates/<request>/`, `keys/` and, while requests are fulfilled, `work/`. The
    ledger decides: everything that a registry says follows from its entries.

    Args:
        folder: an existing registry.
        say: receives lines for the person who waits; by default they are not shown.
        trust: run code that the records of versions name (see `Run.open`).

    Raises: CounError if *folder* is not a registry.

    >>> import coun, tempfile
    >>> folder = Path(tempfile.mkdtemp(), "registry")
    >>> original = coun.train(coun.load("digits", limit=100), "mlp", epochs=1)
    >>> registry = Registry.init(folder, original)
    >>> registry.add(ids=original.data.ids[:2], reason="withdrawn consent").rows
    2
    >>> registry.summary().open
    (1,)
    """

    def open_version(self, version: int, data: Data | str | None = None) -> Run:
        """Open a version; rows that are deleted from the data are accepted."""
        folder = version_folder(self.folder, version)
        source = self._trusted_source() if data is None else data
        return Run.open(folder, data=source, allow_missing=True, trust=self.trust)

    @classmethod
    def init(
        cls,
        folder: str | Path,
        start: Run | str | Path,
        *,
        key: str | Path | None = None,
        recipe_settings: Mapping[str, Any] | None = None,
        say: Callable[[str], None] = silent,
    ) -> Registry:
        """Make a registry whose version 1 is *start*.

        Args:
            folder: a new or empty folder.
            start: a run folder, or a run, also one made by `Run.from_weights`.
            key: the private key that signs certificates; by default a new one is made, with
                file mode 600.
            recipe_settings: for weights that coun did not train: how they were trained, such
                as {"epochs": 30}; a Retrain does the same. By default the model's recipe.

        Raises: CounError if the folder has content, or the run cannot be opened.
        """
        folder = beginning.begin(folder, start, key, dict(recipe_settings or {}))
        return cls(folder, say=say, trust=True)

    # What it holds

    @property
    def signing_key(self) -> Path:
        """The private key that signs certificates."""
        key_path = self.state().created["key"]
        return self.folder / KEYS / SIGNING_KEY if key_path is None else Path(key_path)

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Add an entry to the ledger; inside a transaction."""
        return self.ledger.append(kind, body)

    def rows_by_key(self, requests: Iterable[int]) -> dict[bytes, Numbers]:
        """Row numbers of *requests*, by the key of each."""
        return {
            request_rows.read_key(self.folder, number): request_rows.numbers_of(
                self.ledger.connection, number
            )
            for number in requests
        }

    def data(self, source: Data | str | None = None) -> tuple[Data, Split | None]:
        """Load the data, and what the served version has forgotten of it.

        Args: source: the data, or the source where it is now.
        """
        folder = self.served
        record = read_record(folder)
        source = source or self._trusted_source()
        data, _ = recorded_data(folder, record, source, allow_missing=True)
        if record.split is None:
            return data, None
        return data, Split.from_json(data, record.split, allow_missing=True)

    def _trusted_source(self) -> str:
        """The source on record, if it names no code or code that is trusted."""
        require_trusted_source(self.source, str(self.folder), self.trust)
        return self.source

    # Requests

    def add(
        self,
        *,
        ids: Sequence[str] = (),
        numbers: Sequence[int] = (),
        match: Sequence[str | Path] = (),
        classes: Sequence[str] = (),
        copies: bool = False,
        reason: str = "",
        received: str | None = None,
        due: str | None = None,
        data: Data | str | None = None,
    ) -> RequestSummary:
        """Enter a deletion request.

        Args:
            ids: ids of rows.
            numbers: row numbers, where a list of ids may mean something else.
            match: pictures, and folders of pictures; rows with the same pixels are meant.
            classes: class names or labels.
            copies: also take exact copies of these rows.
            reason: free text. It stays in the ledger for good, so it must name no one.
            received: the day when the request arrived, as YYYY-MM-DD; today by default.
            due: the day by which it must be answered; 30 days after *received* by default.
            data: the data, or the source where it is now.

        Returns: the request with its number.

        Raises: CounError for dates or names that do not fit, or if all rows are forgotten.
        """
        names = {
            "ids": ids,
            "numbers": numbers,
            "match": match,
            "classes": classes,
            "copies_too": copies,
        }
        dates = intake.dates(received, due)
        return self.request(intake.add(self, names, reason, dates, data))

    def near_copies(
        self, number: int, least: float = SIMILARITY, *, data: Data | str | None = None
    ) -> Path | None:
        """Look for rows that look almost like those of an open request, for a person to judge.

        Nothing is added to the request. The ids in `near-copies.txt` beside the page, without
        those that a person strikes out, are what a further request names. Both files are deleted
        when the request is closed.

        Args:
            number: of the request.
            least: cosine of the served model's features from which a row is shown.
            data: the data, or the source where it is now.

        Returns: the page with pairs of pictures; None if no row is that similar.

        Raises: CounError if the request is not open.
        """
        if self.request(number).state != "open":
            raise CounError(
                f"request {number} is not open; look for near-copies before it is closed"
            )
        return intake.near_copies(self, number, least, data)

    def withdraw(self, number: int) -> RequestSummary:
        """Close an open request without fulfilling it; its rows and its key are deleted.

        Args: number: of the request.

        Returns: the request as it is now.

        Raises: CounError if it is not open, was fulfilled before a rollback, or is being fulfilled.

        >>> import coun, tempfile
        >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
        >>> registry = Registry.init(Path(tempfile.mkdtemp(), "registry"), original)
        >>> request = registry.add(classes=["3"])
        >>> registry.withdraw(request.request).state
        'withdrawn'
        """
        intake.withdraw(self, number)
        return self.request(number)

    def shred(self, number: int, *, data: Data | str | None = None) -> RequestSummary:
        """Destroy the key of a fulfilled request, so that nothing links its record to a row.

        Args:
            number: of the request.
            data: the data, or the source where it is now.

        Returns: the request as it is now.

        Raises: CounError if it is not fulfilled, or if rows of it are still in the data: without
            the key they could not be told from new rows.
        """
        intake.shred(self, number, data)
        return self.request(number)

    # Versions

    def fulfil(
        self,
        *requests: int,
        method: str = "auto",
        settings: Mapping[str, Any] | None = None,
        budget: float = BUDGET,
        min_test_accuracy: float | None = None,
        max_remembered: float | None = None,
        max_retain_change: float = RETAIN_CHANGE,
        retrains: Sequence[str | Path] = (),
        seed: int = 0,
        page: bool = True,
        data: Data | str | None = None,
        options: Options | None = None,
    ) -> Fulfilled:
        """Fulfil requests in one batch, and serve the new version if it passes the gates.

        An interrupted fulfilment is continued by the same call. If no method passes, the old
        version stays in service.

        Args:
            requests: their numbers; by default all open ones.
            method, settings: a method (a name, `package.module:Class` or `./file.py:Class`) and
                its settings, or "auto" (`choose_method`).
            budget: what "auto" may cost, as a share of a Retrain.
            min_test_accuracy: gate, in percent.
            max_remembered: gate on the share of forgotten rows that the model remembers, 0..1.
            max_retain_change: gate: points by which the retain accuracy may be above what a
                Retrain is expected to have; it may be twice as far below.
            retrains: run folders of Retrains that saw none of the rows that are then forgotten,
                for the audit; without one, the audit of listed rows is often inconclusive.
            seed: of the method and of the audit.
            page: write the page of the audit beside each certificate.
            data: the data, or the source where it is now.
            options: how to compute.

        Returns: a `Fulfilled`; its result is "FAILED" if no method passed.

        Raises: CounError for bad input, or if another process fulfils requests; TamperingFound
            if the registry was changed by someone else.

        >>> import coun, tempfile
        >>> original = coun.train(coun.load("digits", limit=100), "mlp", epochs=1)
        >>> registry = Registry.init(Path(tempfile.mkdtemp(), "registry"), original)
        >>> request = registry.add(classes=["3"])
        >>> fulfilled = registry.fulfil(method="retrain", page=False)
        >>> fulfilled.result, registry.summary().served, registry.verify(request.request).tampered
        ('FULFILLED_BY_RETRAINING', 2, False)
        """
        from coun.registry.fulfilment import Fulfilment

        gates = Gates(min_test_accuracy, max_remembered, max_retain_change)
        folders = tuple(expanded(folder).absolute() for folder in retrains)
        plan = Plan(method, dict(settings or {}), budget, gates, seed, page, folders)
        with self.exclusive():
            chosen = intake.open_requests(self, requests)
            self.say(f"fulfilling {listed('request', chosen)}")
            work = Fulfilment(self, chosen, plan, data=data, options=options, say=self.say)
            return work.run()

    def rollback(self, version: int | None = None) -> int:
        """Serve an earlier version again; requests that it does not fulfil are open again.

        Args: version: by default the one that was served before.

        Returns: the version that is served now.

        Raises: CounError if there is no such version, or if it does not fulfil a request whose key
            was destroyed: that request could never be fulfilled again. TamperingFound if the
            version was changed.
        """
        return older_versions.roll_back(self, version)

    def discard(self, version: int) -> None:
        """Delete the folder of a version that is not served, for good.

        An earlier version still holds what it learned from rows that were forgotten later.

        Raises: CounError if there is no such version, or it is served or was discarded.
        """
        older_versions.discard(self, version)

    # Evidence

    def check(self) -> list[str]:
        """Name everything that was changed since the registry wrote it; empty if nothing was.

        >>> import coun, tempfile
        >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
        >>> registry = Registry.init(Path(tempfile.mkdtemp(), "registry"), original)
        >>> registry.check()
        []
        """
        return find_problems(self)

    def verify(self, request: int) -> Verification:
        """Verify the certificate of a request against this registry and its version.

        Args: request: its number.

        Returns: every check with its result; `tampered` says whether one found a change.

        Raises: CounError if the request has no certificate.
        """
        state = self.state()
        if request not in state.requests:
            raise self.no_request(request)
        fulfilment = state.fulfilment_of(state.requests[request])
        if fulfilment is None:
            raise CounError(f"request {request} is not fulfilled; it has no certificate")
        version, body = fulfilment
        has_files = not state.versions[version].discarded
        return verify_certificate(
            self.folder / body["path"],
            model=version_folder(self.folder, version) if has_files else None,
            registry=self.folder if has_files else None,
            keys=[load_public_key(Path(f"{self.signing_key}.pub"))],
        )

    def recover(self) -> None:
        """Finish what an interrupted command left; does nothing if nothing was left."""
        recovery.recover(self)

    def refuse_tampering(self) -> None:
        """Refuse to build on a changed ledger, or on a changed version."""
        state = self.state()
        problems = find_problems(self, versions={state.served, state.start or state.served})
        if problems:
            more = f" ({len(problems) - 1} more; see coun registry check)" * (len(problems) > 1)
            raise TamperingFound(f"{self.folder}: {problems[0]}{more}")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let no other process do long work here, and begin with an intact registry.

        Raises: CounError if another process works here; TamperingFound if something was changed.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / LOCK, timeout=0):
                self.refuse_tampering()
                self.recover()
                yield
        except Timeout:
            raise CounError(
                f"another process fulfils requests of {self.folder}; wait until it has ended"
            ) from None
        except PermissionError as error:
            raise cannot_write(self.folder / LOCK, error) from None
