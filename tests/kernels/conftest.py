"""Kernels of every generation, each started when a test first asks for it."""

from __future__ import annotations

import pytest

from tests.kernels.frontend import GENERATIONS, FrontEnd, python_of

MODES = ("subshell", "no-subshell")


def pytest_generate_tests(metafunc):
    """Run what asks for a ``place`` on every generation, with comms on subshells and without."""
    if "place" in metafunc.fixturenames:
        places = [
            pytest.param(
                (generation, mode),
                id=f"{generation}-{mode}",
                marks=pytest.mark.xdist_group(f"{generation}-{mode}"),
            )
            for generation in GENERATIONS
            for mode in MODES
        ]
        metafunc.parametrize("place", places, scope="module")


def start(place, folder, **options):
    """A front end in a place, or a skip where its kernel is not installed."""
    generation, mode = place
    if not python_of(generation).exists():
        pytest.skip(f"ipykernel {generation} is not installed; `make test-kernels` does it")
    return FrontEnd(generation, folder, has_subshell=mode == "subshell", **options)


@pytest.fixture(scope="module")
def shared(place, tmp_path_factory):
    """A front end that the tests of a module share, one for each place."""
    front = start(place, tmp_path_factory.mktemp("kernel"))
    yield front
    front.close()


@pytest.fixture
def front(shared):
    """The shared front end, left usable by whatever a test did to it."""
    yield shared
    shared.rest()
