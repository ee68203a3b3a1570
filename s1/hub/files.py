"""The Hugging Face hub: the files of exactly one commit, and the commit that a branch or tag stands for today.

A commit's files are read from its own snapshot directory in the cache, never from what was cached last:
$HF_HOME/hub/{models,datasets}--OWNER--NAME/snapshots/COMMIT. What is missing is downloaded where there is a network.

Whoever loads them has them hashed first, against the hub's own hashes: those of the list of the commit's files, where
the cache has kept it, and else the name of the blob, its sha256 (of a large file) or the sha1 that git gives it. A file
that is there under no such name, and that no list names, was laid there by hand: it is hashed for the record, with
nothing to compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from s1.config.schema import ConfigError
from s1.hub.pins import HubName, RepoKind, is_commit
from sweep.hashing import git_sha1_of, hashed_once, sha256_of

FETCH = "Run `python -m sweep prefetch` with the same overrides where there is a network"
NUMBERED = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\b.*?(?P<ending>\.[^/]*)?")
MISSING_SHOWN = 3
SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def snapshot(field: str, name: HubName, patterns: Sequence[str], instead: str = "") -> Path:
    """The directory with the files of a commit, fetched if need be.

    Raises ConfigError, one line, if they cannot be had or are not whole; it ends in what to do `instead`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # of its own HTTP library, whichever that is
        XetDownloadError,
    )

    where, rest = f"{field} {name.repo}", f", or {instead}." if instead else "."
    if not name.is_pinned:
        raise ConfigError(
            f"{where}: {name.revision!r} is not a commit. Run `python -m sweep pin` with the same overrides."
        )
    try:
        folder = Path(
            snapshot_download(
                name.repo, repo_type=name.kind.value, revision=name.revision, allow_patterns=list(patterns)
            )
        )
    except (OSError, ValueError, HTTPError, XetDownloadError) as error:
        raise ConfigError(f"{where}: {_refused(error, name)}{rest}") from None
    if folder.resolve().name != name.revision:
        raise ConfigError(
            f"{where}: commit {name.revision} leads to {folder.resolve()}. Remove {folder}. {FETCH}{rest}"
        )
    if missing := list(_missing(folder, name, patterns)):
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        raise ConfigError(
            f"{where}: commit {name.revision} is only partly in the cache, not whole:"
            f" {', '.join(missing[:MISSING_SHOWN])}{more}. Remove {folder.parents[1]}. {FETCH}{rest}"
        )
    return folder


def verified(field: str, name: HubName, folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """The hash of each file of a snapshot, by its place, once all are what the hub has; read once in a process.

    A model of 65 GB is read whole, by several threads; loading it then finds it in the page cache. Raises ConfigError,
    one line with the files to remove.
    """
    from huggingface_hub.utils import filter_repo_objects

    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {place: there[place] for place in filter_repo_objects(there, allow_patterns=list(patterns))}
    listed = _listed_hashes(name)
    # The list comes first: a link may lead to the whole blob of another file, which its own name confirms.
    expected = {place: listed.get(place) or _hash_in_name(path) for place, path in files.items()}
    by_git = {place for place, known in expected.items() if known and GIT_SHA1.fullmatch(known)}
    hashes = {
        **hashed_once((path for place, path in files.items() if place not in by_git), sha256_of),
        **hashed_once((files[place] for place in by_git), git_sha1_of),
    }
    found = {place: hashes[path] for place, path in files.items()}
    if wrong := [place for place in files if expected[place] not in (None, found[place])]:
        blobs = " ".join(str(files[place].resolve()) for place in wrong)
        raise ConfigError(
            f"{field} {name.repo}: commit {name.revision}: not what the hub has, in the cache: {', '.join(wrong)}."
            f" Remove {blobs}. {FETCH}."
        )
    return found


def resolve(field: str, name: HubName) -> str:
    """The commit that a branch or tag stands for today. Raises ConfigError, one line, if the hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]  # see above

    try:
        commit = HfApi().repo_info(name.repo, repo_type=name.kind.value, revision=name.revision).sha
    except (OSError, ValueError, HTTPError) as error:
        raise ConfigError(f"{field} {name.repo}: {_unresolved(error, name)}.") from None
    if commit is None or not is_commit(commit):
        raise ConfigError(f"{field} {name.repo}: the hub gave {commit!r} for {name.revision!r}, no commit. Try again.")
    return commit


def first_line(error: BaseException) -> str:
    """An error as one clause: its type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.:')}" if lines else type(error).__name__


# ------------------------------------------------------------------------------------------- why it cannot be had


def _refused(error: Exception, name: HubName) -> str:
    """Why the files of a commit cannot be had, and the beginning of what to do."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        there = "only partly" if _is_begun(name) else "not"
        return (
            f"commit {name.revision} is {there} in the cache and the hub cannot be reached ({_offline(error)}). {FETCH}"
        )
    return _refused_by_hub(error, name) or f"commit {name.revision} cannot be loaded ({first_line(error)}). {FETCH}"


def _is_begun(name: HubName) -> bool:
    """Whether the cache has a snapshot directory of that commit, whole or not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        snapshot_download(name.repo, repo_type=name.kind.value, revision=name.revision, local_files_only=True)
    except IncompleteSnapshotError:
        return True
    except LocalEntryNotFoundError:
        return False
    return True


def _unresolved(error: Exception, name: HubName) -> str:
    known = _refused_by_hub(error, name)
    return known or (
        f"{name.revision!r} is not resolved, the hub cannot be reached ({_offline(error)}). Run the same command where"
        " there is a network"
    )


def _refused_by_hub(error: Exception, name: HubName) -> str | None:
    """What the hub itself says of a repository or revision; None if it said nothing."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    folder = "datasets/" if name.kind is RepoKind.DATASET else ""
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{folder}{name.repo}"
        return f"gated, and not open to you. Accept its terms at {page}, run `hf auth login`, then fetch it again"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such {name.kind.value} on the hub, or a private one. Correct the name, or run `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"no revision {name.revision} there. Give a commit, branch or tag that it has"
    if isinstance(error, HFValidationError):
        return "no name of a repository. Write OWNER/NAME"
    return None


def _offline(error: Exception) -> str:
    """How the hub was out of reach."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OfflineModeIsEnabled):
            return "offline: HF_HUB_OFFLINE is set"
        seen = seen.__cause__
    return first_line(error.__cause__ or error)


# ------------------------------------------------------------------------------------------------ what is missing


def _missing(folder: Path, name: HubName, patterns: Sequence[str]) -> Iterator[str]:
    """Files that the commit has and the snapshot lacks, or that were cut.

    The hub's list of the commit's files says so where it was kept; older caches have none, and numbered files tell.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    wanted = set(filter_repo_objects(there, allow_patterns=list(patterns)))
    yield from (place for place in sorted(wanted) if not there[place].exists())  # a link to a blob that is gone
    try:
        tree = get_cached_repo_tree(name.repo, repo_type=name.kind.value, revision=name.revision)
    except CachedRepoTreeNotFoundError:
        yield from _gaps(sorted(wanted))
        return
    for file in filter_repo_objects(tree, allow_patterns=list(patterns), key=lambda each: each.path):
        path = folder / file.path
        if path.exists() and path.stat().st_size != file.size:
            yield f"{file.path} ({path.stat().st_size:,} of {file.size:,} bytes)"


def _hash_in_name(path: Path) -> str | None:
    """What a blob of the cache is named after; None for a file that is no blob."""
    blob = path.resolve()
    is_hash = SHA256.fullmatch(blob.name) or GIT_SHA1.fullmatch(blob.name)
    return blob.name if is_hash and blob.parent.name == "blobs" else None


def _listed_hashes(name: HubName) -> dict[str, str]:
    """By place, as the hub's list of the commit's files has them; nothing where that was not kept."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(name.repo, repo_type=name.kind.value, revision=name.revision)
    except CachedRepoTreeNotFoundError:
        return {}
    hashes = {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in tree}
    return {place: found for place, found in hashes.items() if SHA256.fullmatch(found) or GIT_SHA1.fullmatch(found)}


def _gaps(places: Sequence[str]) -> Iterator[str]:
    """Series such as train-00001-of-00004.parquet that are not whole; they begin at 0 or at 1."""
    series: dict[tuple[str, int, str], set[int]] = {}
    for found in filter(None, map(NUMBERED.fullmatch, places)):
        key = (found["stem"], int(found["count"]), (found["ending"] or "").rpartition(".")[2])
        series.setdefault(key, set()).add(int(found["number"]))
    for (stem, count, ending), numbers in series.items():
        if len(numbers) < count:
            yield f"{len(numbers)} of {count} files {stem}-*.{ending}"
