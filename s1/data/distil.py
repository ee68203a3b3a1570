"""Traces by a teacher behind an endpoint: the question alone is asked, thinking and answer are kept apart (paper, 2.1).

Input, product and cost: s1/data/inquiry.py. Where a teacher's thoughts are found: s1/data/replies.py.
"""

from __future__ import annotations

from s1.data.inquiry import inquire
from s1.data.replies import thought_through
from s1.stages import Distilling
from sweep.stage import Summary, Work


def distil(work: Work[Distilling]) -> Summary:
    """Ask the teacher every question; `settings` is the endpoint. Raises EndpointError, also if no thoughts come."""
    return inquire(work, work.config, thought_through, step="distilled")
