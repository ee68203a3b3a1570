"""Access the Hugging Face hub: download and verify the files of one commit; resolve a branch or tag to a commit.

Files are read only from the snapshot directory of their commit in the cache,
$HF_HOME/hub/{models,datasets}--OWNER--NAME/snapshots/COMMIT. Missing files are downloaded if there is a network.

Before use, files are hashed and compared with the hub's hashes: from the cached file list of the commit, or else from
the blob's name, which is its sha256 (large files) or git sha1. A file with neither was placed there by hand: its hash
is recorded, but there is nothing to compare it with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from s1.config.schema import ConfigError
from s1.hub.pins import HubName, RepoKind, is_commit
from sweep.hashing import git_sha1_of, hashed_once, sha256_of

FETCH = "Run `python -m sweep prefetch` with the same overrides on a machine with network access"
NUMBERED = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\b.*?(?P<ending>\.[^/]*)?")
MISSING_SHOWN = 3
SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def snapshot(field: str, name: HubName, patterns: Sequence[str], instead: str = "") -> Path:
    """The directory with the files of a commit, downloaded if missing.

    If files are unavailable or incomplete, raises ConfigError: one line that offers `instead` as an alternative.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # re-exported from its HTTP library
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
        raise ConfigError(f"{where}: {_download_problem(error, name)}{rest}") from None
    if folder.resolve().name != name.revision:
        raise ConfigError(
            f"{where}: the cache of commit {name.revision} links to {folder.resolve()}. Remove {folder}. {FETCH}{rest}"
        )
    if missing := list(_missing(folder, name, patterns)):
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        raise ConfigError(
            f"{where}: commit {name.revision} is incomplete in the cache:"
            f" {', '.join(missing[:MISSING_SHOWN])}{more}. Remove {folder.parents[1]}. {FETCH}{rest}"
        )
    return folder


def verified(field: str, name: HubName, folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Verify a snapshot against the hub. Returns hashes by relative path; each file is read once per process.

    A model of 65 GB is read completely, by several threads; loading it afterwards reads the page cache. Raises
    ConfigError, one line with the files to remove.
    """
    from huggingface_hub.utils import filter_repo_objects

    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {place: there[place] for place in filter_repo_objects(there, allow_patterns=list(patterns))}
    listed = _listed_hashes(name)
    # The list takes precedence: a link to the intact blob of a different file would match that blob's name.
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
            f"{field} {name.repo}: commit {name.revision}: cached files differ from the hub's: {', '.join(wrong)}."
            f" Remove {blobs}. {FETCH}."
        )
    return found


def resolve(field: str, name: HubName) -> str:
    """The commit that a branch or tag points to now. Raises ConfigError, one line, if the hub does not answer."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]  # see above

    try:
        commit = HfApi().repo_info(name.repo, repo_type=name.kind.value, revision=name.revision).sha
    except (OSError, ValueError, HTTPError) as error:
        raise ConfigError(f"{field} {name.repo}: {_resolve_problem(error, name)}.") from None
    if commit is None or not is_commit(commit):
        raise ConfigError(
            f"{field} {name.repo}: the hub returned {commit!r} for {name.revision!r}, which is not a commit. Try again."
        )
    return commit


def first_line(error: BaseException) -> str:
    """An error as one clause: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.:')}" if lines else type(error).__name__


# ------------------------------------------------------------------------------------------- explaining failures


def _download_problem(error: Exception, name: HubName) -> str:
    """Why the files of a commit cannot be downloaded, and the first part of the fix."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        status = "incomplete" if _has_snapshot(name) else "not"
        reason = _offline_reason(error)
        return f"commit {name.revision} is {status} in the cache and the hub cannot be reached ({reason}). {FETCH}"
    return _hub_problem(error, name) or f"commit {name.revision} cannot be loaded ({first_line(error)}). {FETCH}"


def _has_snapshot(name: HubName) -> bool:
    """Whether the cache has a snapshot directory of the commit, complete or not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        snapshot_download(name.repo, repo_type=name.kind.value, revision=name.revision, local_files_only=True)
    except IncompleteSnapshotError:
        return True
    except LocalEntryNotFoundError:
        return False
    return True


def _resolve_problem(error: Exception, name: HubName) -> str:
    known = _hub_problem(error, name)
    return known or (
        f"cannot resolve {name.revision!r}, since the hub cannot be reached ({_offline_reason(error)}). Run the same"
        " command on a machine with network access"
    )


def _hub_problem(error: Exception, name: HubName) -> str | None:
    """The hub's own error about a repository or revision; None for other errors."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    folder = "datasets/" if name.kind is RepoKind.DATASET else ""
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{folder}{name.repo}"
        return f"gated, and you have no access. Accept its terms at {page}, run `hf auth login`, then try again"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such {name.kind.value} on the hub, or it is private. Correct the name, or run `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {name.revision}. Give one of its commits, branches or tags"
    if isinstance(error, HFValidationError):
        return "not a repository name. Write OWNER/NAME"
    return None


def _offline_reason(error: Exception) -> str:
    """Why the hub cannot be reached."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OfflineModeIsEnabled):
            return "offline: HF_HUB_OFFLINE is set"
        seen = seen.__cause__
    return first_line(error.__cause__ or error)


# ------------------------------------------------------------------------------------------------ what is missing


def _missing(folder: Path, name: HubName, patterns: Sequence[str]) -> Iterator[str]:
    """Files of the commit that are missing or truncated in the snapshot.

    Compares with the hub's file list of the commit. Older caches have none; then gaps in numbered files are reported.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import filter_repo_objects

    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    wanted = set(filter_repo_objects(there, allow_patterns=list(patterns)))
    yield from (place for place in sorted(wanted) if not there[place].exists())  # a link to a deleted blob
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
    """The hash in the name of a blob of the cache; None if the file is not a blob."""
    blob = path.resolve()
    is_hash = SHA256.fullmatch(blob.name) or GIT_SHA1.fullmatch(blob.name)
    return blob.name if is_hash and blob.parent.name == "blobs" else None


def _listed_hashes(name: HubName) -> dict[str, str]:
    """Hashes by relative path, from the cached file list of the commit; empty if there is none."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(name.repo, repo_type=name.kind.value, revision=name.revision)
    except CachedRepoTreeNotFoundError:
        return {}
    hashes = {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in tree}
    return {place: found for place, found in hashes.items() if SHA256.fullmatch(found) or GIT_SHA1.fullmatch(found)}


def _gaps(places: Sequence[str]) -> Iterator[str]:
    """Incomplete series of files such as train-00001-of-00004.parquet; numbering starts at 0 or 1."""
    series: dict[tuple[str, int, str], set[int]] = {}
    for found in filter(None, map(NUMBERED.fullmatch, places)):
        key = (found["stem"], int(found["count"]), (found["ending"] or "").rpartition(".")[2])
        series.setdefault(key, set()).add(int(found["number"]))
    for (stem, count, ending), numbers in series.items():
        if len(numbers) < count:
            yield f"{len(numbers)} of {count} files {stem}-*.{ending}"
