"""The package itself: what it exports, what importing it costs, how large its parts are, whether the twins agree."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mediastore
from mediastore import AsyncMediaStore, MediaStore

HERE = Path(__file__).parent.parent
SOURCES = [
    path
    for folder in ("mediastore", "worker", "tests", "benchmarks")
    for path in sorted((HERE / folder).rglob("*.py"))
]
PUBLIC = [name for name in dir(MediaStore) if not name.startswith("_")]


def bare(signature):
    """Return what a method gives, whether it is awaited, entered or simply there."""
    return re.sub(r"Async|Holding\[|\]", "", str(signature.return_annotation))


@pytest.mark.parametrize("name", PUBLIC)
def test_both_clients_have_the_same_methods_with_equal_signatures(name):
    blocking, awaited = getattr(MediaStore, name), getattr(AsyncMediaStore, name)

    ours, theirs = inspect.signature(blocking), inspect.signature(awaited)
    assert ours.parameters == theirs.parameters
    assert bare(ours) == bare(theirs)
    assert awaited.__doc__
    shared = blocking is awaited or inspect.ismethod(blocking)
    entered = str(theirs.return_annotation).startswith(("AsyncHolding[", "AsyncWriter"))
    assert shared or entered or inspect.iscoroutinefunction(awaited)


def test_the_async_client_has_no_method_of_its_own():
    assert [name for name in dir(AsyncMediaStore) if not name.startswith("_")] == PUBLIC


def test_every_exported_name_is_there_and_nothing_else_is_promised():
    for name in mediastore.__all__:
        assert getattr(mediastore, name) is not None
    assert dir(mediastore) == sorted(mediastore.__all__)
    with pytest.raises(AttributeError):
        _ = mediastore.nothing


def test_importing_the_package_loads_neither_redis_nor_asyncio_nor_celery():
    code = "import sys, mediastore; print(sorted({'redis','asyncio','celery','typer'} & set(sys.modules)))"

    told = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(HERE)))
def test_no_module_is_longer_than_400_lines_and_no_function_than_40(path):
    text = path.read_text()

    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = node.body[0]
            documented = isinstance(start, ast.Expr) and isinstance(start.value, ast.Constant)
            first = (start.end_lineno or 0) if documented else node.lineno
            assert (node.end_lineno or 0) - first <= 40, node.name


def test_no_module_has_a_name_that_says_nothing():
    for path in SOURCES:
        assert path.stem not in {"utils", "util", "helpers", "types", "common", "misc"}


def test_no_docstring_is_a_template():
    for path in SOURCES:
        assert not re.search(r"_(descr)iption_|TO(DO)\b|FIX(ME)\b", path.read_text()), path


def test_stores_are_not_pickled(other):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(other)


def test_the_version_is_said_once():
    text = (HERE / "pyproject.toml").read_text()

    assert f'version = "{mediastore.__version__}"' in text
    assert f"[{mediastore.__version__}]" in (HERE / "CHANGELOG.md").read_text()


def test_whoever_configures_no_logging_is_not_talked_to():
    code = "import mediastore, logging; logging.getLogger('mediastore').warning('hello')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert (done.stdout, done.stderr) == (b"", b"")
