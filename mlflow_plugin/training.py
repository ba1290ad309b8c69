"""What a training call was given: governed data, its labels, and what nbgov did not deliver.

Autologging hands over the very objects that went into ``fit``. A mark proves where a frame comes
from; the ledger recognises data that lost its mark and nothing else; everything else is ungoverned,
and so are labels of which that holds. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_plugin.ledger import dimensions, recall, recognise
from mlflow_plugin.marks import Lookup, mark_of
from nbgov import DatasetVersion, Delivery

FEATURES = frozenset(
    {"x", "x_train", "data", "dataset", "df", "dtrain", "train_data", "train_set", "training_data"}
)
LABELS = frozenset({"y", "label", "labels", "target", "targets", "y_train"})
VALIDATION = frozenset(
    {"eval_set", "evals", "valid_sets", "validation_data", "x_val", "y_val", "val_dataloaders"}
)
# What a training call takes beside data; a governed column among them is an input all the same.
BESIDE = frozenset({"sample_weight", "class_weight", "groups", "weight", "weights"})
# Attributes of data that has no shape: of XGBoost's, Spark's and LightGBM's own kinds.
PRODUCTS = ("num_row", "toPandas", "__dataframe__", "construct")
PARTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Used:
    """A delivered version among the values of a training call.

    Attributes:
        version, delivery: What it is.
        context: ``training`` or ``validation``.
        labels: Its columns that the training learns to predict.
    """

    version: DatasetVersion
    delivery: Delivery
    context: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Foreign:
    """Data that nbgov did not deliver, as far as it can tell.

    Attributes:
        words: What it is, without a value: ``DataFrame of 3 columns and 200 rows``.
        rows: How many rows it has; 0 where that is not known.
        names: Its column names, which are told to nobody; empty for data without names.
    """

    words: str
    rows: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What a training call was given.

    Attributes:
        used: Delivered versions, the features' first.
        foreign: What nbgov did not deliver.
        estimator: The object that is trained, if the call has one.
        features, labels: The data itself.
        names: The features' column names; empty where they are not known.
    """

    used: tuple[Used, ...]
    foreign: tuple[Foreign, ...]
    estimator: Any = None
    features: Any = None
    labels: Any = None
    names: tuple[str, ...] = ()


def given(
    call: tuple[Any, str], arguments: Sequence[Any], keywords: Mapping[str, Any], lookup: Lookup
) -> Given:
    """Tell what a training call is fitted on.

    Args:
        call: The patched class or module, and the name of the function.
        arguments: As in the call; the estimator comes first where there is one.
        keywords: As in the call.
        lookup: Finds the version behind a mark.
    """
    named = parameters(call, arguments, keywords)
    features = next((v for n, v in named if role(n) == "features"), None)
    labels = next((v for n, v in named if role(n) == "labels"), None)
    used: list[Used] = []
    foreign: list[Foreign] = []
    names: tuple[str, ...] = ()
    for name, value in named:
        for part in parts(value) if role(name) == "validation" else (value,):
            found, columns = behind(part, lookup)
            if value is features:
                names = column_names(part) or columns
            if found is None:
                if role(name) != "beside":
                    foreign.append(described(part, role(name)))
                continue
            context = "validation" if role(name) == "validation" else "training"
            is_label = role(name) == "labels"
            taught = label_columns(part, columns, found[0]) if is_label else ()
            used.append(Used(*found, context, taught))
    if features is None and not used:
        kind = type(arguments[0]).__name__ if arguments else call[1]
        foreign.append(Foreign(f"data of {kind} that nbgov cannot look into"))
    first = arguments[0] if arguments else None
    estimator = first if hasattr(first, "predict") or hasattr(first, "fit") else None
    return Given(merged(used), tuple(foreign), estimator, features, labels, names)


def parameters(
    call: tuple[Any, str], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """The data of a call with the lower-case name of its parameter."""
    function = getattr(*call, None)
    try:
        known = list(inspect.signature(function).parameters) if callable(function) else []
    except (TypeError, ValueError):
        known = []
    known += [f"argument {place}" for place in range(len(known), len(arguments))]
    pairs = [*zip(known, arguments, strict=False), *keywords.items()]
    lower = [(name.lower(), value) for name, value in pairs if name != "self"]
    return [(name, value) for name, value in lower if is_data(value) or is_listed(name, value)]


def is_listed(name: str, value: Any) -> bool:
    """Whether a list stands for data; for most parameters it stands for something else."""
    return isinstance(value, list | tuple) and name in FEATURES | LABELS | VALIDATION


def role(name: str) -> str:
    """What a parameter is for, by its name."""
    for names, meaning in ((LABELS, "labels"), (VALIDATION, "validation"), (BESIDE, "beside")):
        if name in names:
            return meaning
    return "features"


def is_data(value: Any) -> bool:
    """Whether a value holds rows: an array, a frame, or a product's own kind of either."""
    if isinstance(value, type):
        return False
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape) > 0 if isinstance(shape, tuple | list) else True
    return any(hasattr(value, name) for name in PRODUCTS)


def parts(value: Any) -> Iterator[Any]:
    """The arrays in what is given to validate on: pairs, lists of pairs, or one of them."""
    if isinstance(value, list | tuple):
        for each in value[:PARTS_MAX]:
            yield from parts(each)
    elif is_data(value):
        yield value


def behind(
    data: Any, lookup: Lookup
) -> tuple[tuple[DatasetVersion, Delivery] | None, tuple[str, ...]]:
    """The version that data is of, and its names for the data's columns where it had none."""
    mark = mark_of(data) if hasattr(data, "attrs") else {}
    if mark:
        return recall(mark, lookup), ()
    known = recognise(data)
    if known is None:
        return None, ()
    return (known.heard.version, known.heard.delivery), known.names


def label_columns(
    data: Any, recognised: tuple[str, ...], version: DatasetVersion
) -> tuple[str, ...]:
    """The version's columns that labels are of."""
    held = {name for name, *_ in version.columns}
    names = recognised or column_names(data) or (str(getattr(data, "name", "")),)
    return tuple(name for name in names if name in held)


def column_names(data: Any) -> tuple[str, ...]:
    """The names of a frame's columns; empty for anything else."""
    columns = getattr(data, "columns", None)
    if columns is None or callable(columns):
        return ()
    return tuple(str(name) for name in columns)


def described(data: Any, purpose: str) -> Foreign:
    """Data in words that name no value and no column."""
    kind = "NumPy array" if type(data).__name__ == "ndarray" else type(data).__name__
    rows, width = dimensions(data)
    if not rows and hasattr(data, "num_row"):
        rows = int(data.num_row())
    elif not rows and hasattr(data, "__len__"):
        rows = len(data)
    sizes = [counted(width, "column")] if width else []
    sizes += [counted(rows, "row")] if rows else []
    words = f"{kind} of {' and '.join(sizes)}" if sizes else kind
    prefix = "" if purpose == "features" else f"{purpose}: "
    return Foreign(prefix + words, rows, column_names(data))


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "row"), counted(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def merged(used: Sequence[Used]) -> tuple[Used, ...]:
    """One entry for each version; training outweighs validation, and labels add up."""
    found: dict[str, Used] = {}
    for one in used:
        before = found.get(one.version.version_id)
        if before is None:
            found[one.version.version_id] = one
            continue
        contexts = {before.context, one.context}
        labels = tuple(dict.fromkeys((*before.labels, *one.labels)))
        context = "training" if "training" in contexts else one.context
        found[one.version.version_id] = Used(before.version, before.delivery, context, labels)
    return tuple(found.values())
