"""What all tests share: the locks of the devices are their own."""

from collections.abc import Iterator

import pytest

from gpu_timing_assets.core.locks import LOCKS_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _locks_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # an engine, or another of these sessions, may be running on this machine; what the tests start
    # inherits the variable
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOCKS_VARIABLE, str(tmp_path_factory.mktemp("locks")))
        yield
