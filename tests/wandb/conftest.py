"""One W&B server for all tests of this folder that read back what arrived; each uses a project of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.wandb_server import WandbServer, wandb_server


@pytest.fixture(scope="session")
def wandb_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with wandb_server(tmp_path_factory.mktemp("wandb-server")) as server:
        yield server
