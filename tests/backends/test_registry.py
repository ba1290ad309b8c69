"""Kinds of backends: what is built in, what others register, and what a person is told."""

from __future__ import annotations

import sys

import pytest

from nbgov.backends import BUILT_IN, load
from nbgov.errors import BackendFailed, ConfigInvalid
from nbgov.wiring import run_stores


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution that declares entry points in the group nbgov.backends."""

    def install(entries, module="answer = 42\n"):
        info = tmp_path / "other_backends-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: other-backends\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text("[nbgov.backends]\n" + entries)
        (tmp_path / "other_backends.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("other_backends", None)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "sqlalchemy"])
def test_a_built_in_kind_opens_an_engine(kind):
    """The kinds of connection that come with nbgov lead to a function that opens an engine."""
    assert callable(load(kind))
    assert load(kind).__module__.startswith("nbgov.backends.")


def test_an_unknown_kind_names_the_nearest():
    """A misspelt kind is an error that lists the known ones and says which was meant."""
    with pytest.raises(ConfigInvalid) as caught:
        load("postgres")
    assert "postgresql" in caught.value.next_step
    assert all(kind in caught.value.why for kind in BUILT_IN)


def test_a_kind_like_no_other_is_an_error_too():
    """A kind that resembles nothing is an error without a suggestion."""
    with pytest.raises(ConfigInvalid) as caught:
        load("../../etc/passwd")
    assert caught.value.next_step == "use one of these"


def test_a_registered_kind_is_found(installed):
    """A distribution adds a kind with an entry point, and loads only when it is asked for."""
    installed("other = other_backends:answer\n")
    assert "other_backends" not in sys.modules
    assert load("other") == 42


def test_what_opens_engines_is_no_run_store(installed):
    """Run stores stand in the same group; a function there is not called to look for one."""
    installed("other = other_backends:answer\n", module="def answer(name, settings): ...\n")
    assert [store.product for store in run_stores.__wrapped__()] == ["mlflow"]


def test_a_built_in_kind_cannot_be_replaced(installed):
    """An entry point under a built-in name is not used."""
    installed("duckdb = other_backends:answer\n")
    assert load("duckdb") != 42


def test_a_missing_driver_is_named(installed):
    """A kind whose product is absent says which package is missing and how to get it."""
    installed("other = other_backends:answer\n", module="import no_such_product.part\n")
    with pytest.raises(BackendFailed) as caught:
        load("other")
    assert caught.value.code == "driver-missing"
    assert "no_such_product" in caught.value.why
    assert "pip install" in caught.value.next_step


def test_a_driver_that_breaks_is_named(installed):
    """A product that cannot be imported for another reason is an error with the same code."""
    installed("other = other_backends:answer\n", module="raise ImportError('too old')\n")
    with pytest.raises(BackendFailed) as caught:
        load("other")
    assert caught.value.code == "driver-missing"
    assert "'other'" in caught.value.what


def test_a_mistake_of_ours_is_not_blamed_on_a_driver(installed):
    """An import of nbgov that fails is a mistake in the code, and reads as one."""
    installed("other = other_backends:answer\n", module="import nbgov.no_such_module\n")
    with pytest.raises(ModuleNotFoundError):
        load("other")
