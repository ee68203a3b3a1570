"""The trace archive: every prompt, trace and answer of a scan, each text once, so that a result is browsed by itself.

    folder/index.js    points, questions, and one cell per question, point, seed and sample
    folder/NNNN.js     the texts of some questions in a row

`open_archive` reads a folder; the stage `trace_archive` writes it (s1/report/trace_archive/stage.py). A page loads the
files with <script src>, also from file://. See s1/report/trace_archive/files.py for the format.
"""

from s1.report.trace_archive.reader import TraceArchive, common_prefix, open_archive
from s1.report.trace_archive.rows import (
    ArchivedQuestion,
    ArchivedTrace,
    ArchivePoint,
    ArchiveSource,
    Cell,
    Origin,
    Piece,
    QuestionId,
    TracePlace,
)

__all__ = [
    "ArchivePoint",
    "ArchiveSource",
    "ArchivedQuestion",
    "ArchivedTrace",
    "Cell",
    "Origin",
    "Piece",
    "QuestionId",
    "TraceArchive",
    "TracePlace",
    "common_prefix",
    "open_archive",
]
