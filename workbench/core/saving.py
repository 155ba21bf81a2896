"""One saving format: a folder of JSON, safetensors and (for scikit-learn leaves) skops files.

Never pickle: a folder from a stranger can't run code. Layout::

    model/
      manifest.json          format, version, name of the current content folder, checksums
      content-1f3a.../       tree.json, arrays.safetensors, leaf-0.skops, ...

Saving writes a complete new content folder and then replaces ``manifest.json`` in one atomic
rename, so a killed save leaves the old state or the new one, never half of each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import CausalWarning, SavedStateError

FORMAT = 1
_MAX_JSON = 256 * 2**20
_MAX_DEPTH = 100
_registry: dict[str, type] = {}


def saveable(cls: type) -> type:
    """Class decorator: instances may be saved. The state is ``vars(self)``.

    A class may define ``_state(self) -> dict`` and ``_from_state(cls, dict)`` where that is not
    what should be kept. Values may be JSON scalars, lists, tuples, sets, dictionaries, arrays,
    tensors, pandas objects, saveable objects and fitted scikit-learn estimators.
    """
    _registry[_label(cls)] = cls
    return cls


def save(obj: Any, path: str | Path, force: bool = False) -> Path:
    """Write ``obj`` into the folder ``path``, atomically.

    Args:
        obj: A saveable object of this package.
        path: The folder to make.
        force: Replace what was saved there before. Anything else there is never touched.

    Returns:
        The folder.

    Raises:
        FileExistsError: ``path`` exists and ``force`` is not set, or it is not a saved folder.
        SavedStateError: Something in the object has no safe form on disk.

    Example:
        >>> import tempfile; from workbench import Schema
        >>> folder = tempfile.mkdtemp() + "/schema"
        >>> _ = save(Schema([]), folder)
        >>> len(load(folder))
        0
    """
    path = Path(path)
    if path.exists():
        if not (path / "manifest.json").is_file():
            raise FileExistsError(f"{path} exists and is not a folder saved by workbench")
        if not force:
            raise FileExistsError(f"{path} exists; pass force=True to replace what it holds")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    # The first save builds the whole folder beside its place; later ones build inside it.
    home = (
        Path(tempfile.mkdtemp(prefix=f".{path.name}.saving-", dir=path.parent)) if fresh else path
    )
    content = Path(tempfile.mkdtemp(prefix="content-", dir=home))
    try:
        writer = _Writer(content)
        tree = writer.encode(obj, type(obj).__name__, 0)
        writer.close()
        _write(content / "tree.json", json.dumps(tree, allow_nan=False).encode())
        files = {f.name: _digest(f) for f in sorted(content.iterdir())}
        manifest = {
            "format": FORMAT,
            "class": _label(type(obj)),
            "content": content.name,
            "files": files,
        }
        handle, name = tempfile.mkstemp(prefix=".manifest-", dir=home)
        os.close(handle)
        _write(Path(name), json.dumps(manifest, indent=1).encode())
        os.replace(name, home / "manifest.json")
        if fresh:
            os.chmod(home, 0o755)
            os.rename(home, path)
    except BaseException:
        shutil.rmtree(home if fresh else content, ignore_errors=True)
        raise
    _tidy(path, keep=content.name)
    return path


def load(path: str | Path, **context: Any) -> Any:
    """Read what :func:`save` wrote; nothing in the folder is executed.

    Args:
        path: The folder.
        **context: Handed to classes that need something that is not saved, e.g. ``model=`` for a
            :class:`~workbench.recourse.RecourseProblem`.

    Raises:
        SavedStateError: Missing, truncated or altered, or written by a newer version.
    """
    path = Path(path)
    if not path.exists():
        raise SavedStateError(
            f"there is no folder {path}",
            advice="Data sets are loaded with workbench.datasets.load.",
        )
    try:
        manifest = json.loads(_read(path / "manifest.json"))
    except (OSError, ValueError) as error:
        raise SavedStateError(
            f"{path} holds no complete saved state", advice="Was the save interrupted?"
        ) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise SavedStateError(f"{path}: manifest.json is not one of workbench's")
    if manifest["format"] > FORMAT:
        raise SavedStateError(
            f"{path} was written in format {manifest['format']}, this version reads up to {FORMAT}",
            advice="Upgrade workbench.",
        )
    content, files = str(manifest.get("content")), manifest.get("files")
    if not content.startswith("content-") or "/" in content or not isinstance(files, dict):
        raise SavedStateError(f"{path}: manifest.json is not one of workbench's")
    folder = path / content
    for name, digest in files.items():
        if "/" in name or not (folder / name).is_file() or _digest(folder / name) != digest:
            raise SavedStateError(f"{path}: {name!r} is truncated or was altered after saving")
    reader = _Reader(folder, frozenset(files), context)
    return reader.decode(json.loads(_read(folder / "tree.json")), 0)


class _Writer:
    """Turns an object into a JSON tree; arrays and estimators go to files beside it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.arrays: dict[str, np.ndarray] = {}
        self.leaves = 0

    def encode(self, value: Any, at: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise SavedStateError(f"{at} is nested too deeply to be saved")
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int):
            return {"!": "int", "v": str(value)} if abs(value) > 2**53 else value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"!": "float", "v": repr(value)}
        if isinstance(value, np.generic):
            return {"!": "scalar", **self._array(np.asarray(value))}
        if isinstance(value, np.ndarray):
            return self._ndarray(value, at, depth)
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            encoded = [self.encode(v, f"{at}[{i}]", depth + 1) for i, v in enumerate(items)]
            return encoded if type(value) is list else {"!": type(value).__name__, "v": encoded}
        if isinstance(value, dict):
            pairs = [
                [self.encode(k, at, depth + 1), self.encode(v, f"{at}[{k!r}]", depth + 1)]
                for k, v in value.items()
            ]
            return {"!": "dict", "v": pairs}
        if isinstance(value, pd.Timestamp):
            return {"!": "time", "v": value.isoformat()}
        if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
            return self._pandas(value, at, depth)
        label = _label(type(value))
        if label in _registry:
            state = value._state() if hasattr(value, "_state") else _plain_state(value)
            return {"!": "object", "class": label, "v": self.encode(state, at, depth + 1)}
        module = type(value).__module__.split(".")[0]
        if module == "torch":
            return self._tensor(value, at)
        if module in ("sklearn", "lightgbm"):
            return self._leaf(value, at)
        raise SavedStateError(
            f"{at} is a {type(value).__module__}.{type(value).__qualname__}, "
            "which has no safe form on disk"
        )

    def close(self) -> None:
        if self.arrays:
            from safetensors.numpy import save_file

            save_file(self.arrays, self.folder / "arrays.safetensors")
            _sync(self.folder / "arrays.safetensors")

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        key = f"a{len(self.arrays)}"
        kind, shape = str(array.dtype), list(array.shape)
        if array.dtype.kind in "Mm":
            array = array.view("int64")
        elif array.dtype.kind == "c":
            array = array.view(array.real.dtype)
        # A copy: safetensors wants contiguous memory that no other array shares.
        self.arrays[key] = np.array(array, order="C", copy=True).reshape(-1)
        return {"key": key, "dtype": kind, "shape": shape}

    def _ndarray(self, array: np.ndarray, at: str, depth: int) -> dict[str, Any]:
        if array.dtype.kind in "OUS":
            flat = [self.encode(v, at, depth + 1) for v in array.ravel().tolist()]
            return {"!": "objects", "shape": list(array.shape), "kind": array.dtype.kind, "v": flat}
        return {"!": "array", **self._array(array)}

    def _tensor(self, value: Any, at: str) -> dict[str, Any]:
        import torch

        if not isinstance(value, torch.Tensor):
            raise SavedStateError(f"{at} is a {type(value).__name__}, which has no safe form")
        return {"!": "tensor", **self._array(value.detach().cpu().numpy())}

    def _leaf(self, value: Any, at: str) -> dict[str, Any]:
        from skops.io import dump, get_untrusted_types

        from .trusted import TRUSTED

        name = f"leaf-{self.leaves}.skops"
        self.leaves += 1
        dump(value, self.folder / name)
        foreign = set(get_untrusted_types(file=self.folder / name)) - TRUSTED
        if foreign:
            raise SavedStateError(f"{at} contains types that can't be loaded safely: {foreign}")
        _sync(self.folder / name)
        return {"!": "leaf", "file": name}

    def _pandas(self, value: Any, at: str, depth: int) -> dict[str, Any]:
        def go(part: Any) -> Any:
            return self.encode(part, at, depth + 1)

        if isinstance(value, pd.DataFrame):
            columns = [go(value.iloc[:, j].reset_index(drop=True)) for j in range(value.shape[1])]
            return {
                "!": "frame",
                "index": go(value.index),
                "names": go(value.columns),
                "v": columns,
            }
        if isinstance(value, pd.Series):
            if isinstance(value.dtype, pd.CategoricalDtype):
                data = {
                    "codes": go(value.cat.codes.to_numpy()),
                    "levels": go(value.cat.categories),
                    "ordered": value.cat.ordered,
                }
                return {
                    "!": "series",
                    "index": go(value.index),
                    "name": go(value.name),
                    "cat": data,
                }
            return {
                "!": "series",
                "index": go(value.index),
                "name": go(value.name),
                "dtype": str(value.dtype),
                "v": go(_values(value)),
            }
        if isinstance(value, pd.RangeIndex):
            return {
                "!": "range",
                "v": [value.start, value.stop, value.step],
                "name": go(value.name),
            }
        if isinstance(value, pd.MultiIndex):
            return {"!": "multi", "v": go(value.tolist()), "name": go(list(value.names))}
        return {
            "!": "index",
            "dtype": str(value.dtype),
            "v": go(_values(value)),
            "name": go(value.name),
        }


class _Reader:
    """Builds objects from the JSON tree; only registered classes are ever made."""

    def __init__(self, folder: Path, files: frozenset[str], context: dict[str, Any]):
        self.folder, self.files, self.context = folder, files, context
        self._arrays: dict[str, np.ndarray] | None = None

    def decode(self, node: Any, depth: int) -> Any:
        if depth > 4 * _MAX_DEPTH:
            raise SavedStateError("the saved tree is nested too deeply")
        if isinstance(node, list):
            return [self.decode(v, depth + 1) for v in node]
        if not isinstance(node, dict):
            return node
        try:
            build = getattr(self, f"_build_{node['!']}")
            return build(node, depth + 1)
        except SavedStateError:
            raise
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise SavedStateError(f"the saved tree is damaged: {error}") from error

    def _build_int(self, node, depth):
        return int(node["v"])

    def _build_float(self, node, depth):
        return float(node["v"])

    def _build_tuple(self, node, depth):
        return tuple(self.decode(node["v"], depth))

    def _build_set(self, node, depth):
        return set(self.decode(node["v"], depth))

    def _build_frozenset(self, node, depth):
        return frozenset(self.decode(node["v"], depth))

    def _build_dict(self, node, depth):
        return {self.decode(k, depth): self.decode(v, depth) for k, v in node["v"]}

    def _build_time(self, node, depth):
        return pd.Timestamp(node["v"])

    def _build_array(self, node, depth):
        if self._arrays is None:
            from safetensors.numpy import load_file

            self._arrays = load_file(self.folder / "arrays.safetensors")
        return self._arrays[node["key"]].view(np.dtype(node["dtype"])).reshape(node["shape"])

    def _build_scalar(self, node, depth):
        return self._build_array(node, depth)[()]

    def _build_tensor(self, node, depth):
        import torch

        return torch.from_numpy(np.array(self._build_array(node, depth)))

    def _build_objects(self, node, depth):
        flat = self.decode(node["v"], depth)
        out = np.empty(len(flat), dtype=object)
        out[:] = flat
        out = out.reshape(node["shape"])
        return out.astype(node["kind"]) if node["kind"] != "O" else out

    def _build_frame(self, node, depth):
        columns = [self.decode(c, depth) for c in node["v"]]
        index = self.decode(node["index"], depth)
        frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(len(index)))
        frame.columns, frame.index = self.decode(node["names"], depth), index
        return frame

    def _build_series(self, node, depth):
        index, name = self.decode(node["index"], depth), self.decode(node["name"], depth)
        if "cat" in node:
            codes, levels = (self.decode(node["cat"][k], depth) for k in ("codes", "levels"))
            values = pd.Categorical.from_codes(codes, levels, ordered=node["cat"]["ordered"])
            return pd.Series(values, index=index, name=name)
        values = self.decode(node["v"], depth)
        return pd.Series(values, index=index, name=name).astype(node["dtype"])

    def _build_range(self, node, depth):
        return pd.RangeIndex(*node["v"], name=self.decode(node["name"], depth))

    def _build_multi(self, node, depth):
        return pd.MultiIndex.from_tuples(
            self.decode(node["v"], depth), names=self.decode(node["name"], depth)
        )

    def _build_index(self, node, depth):
        values, name = self.decode(node["v"], depth), self.decode(node["name"], depth)
        return pd.Index(values, name=name).astype(node["dtype"])

    def _build_leaf(self, node, depth):
        from skops.io import load as load_leaf

        from .trusted import TRUSTED

        if node["file"] not in self.files:
            raise SavedStateError("the saved tree names a file that was not saved with it")
        return load_leaf(self.folder / node["file"], trusted=sorted(TRUSTED))

    def _build_object(self, node, depth):
        cls = _class(node["class"])
        state = self.decode(node["v"], depth)
        if not hasattr(cls, "_from_state"):
            obj = cls.__new__(cls)
            for name, value in state.items():
                object.__setattr__(obj, name, value)
            return obj
        if getattr(cls, "_needs_context", False):
            return cls._from_state(state, **self.context)
        return cls._from_state(state)


def _plain_state(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return dict(vars(value))


def _values(value: pd.Series | pd.Index) -> np.ndarray:
    """Values as a plain array: missing cells of extension types become None."""
    if isinstance(value.dtype, np.dtype):
        return value.to_numpy()
    return value.astype(object).where(value.notna(), None).to_numpy(dtype=object)


def _label(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


saveable(CausalWarning)  # warnings stay attached to what is saved; errors.py knows no saving


def _class(label: str) -> type:
    if label not in _registry:
        module = label.partition(":")[0]
        if not module.startswith("workbench."):
            raise SavedStateError(f"{label!r} is not a class of workbench")
        try:
            import_module(module)
        except ImportError as error:
            raise SavedStateError(
                f"class {label!r} is unknown", advice="It may come from a newer version."
            ) from error
    if label not in _registry:
        raise SavedStateError(f"class {label!r} is unknown", advice="Upgrade workbench.")
    return _registry[label]


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    if path.stat().st_size > _MAX_JSON:
        raise SavedStateError(f"{path.name} is larger than {_MAX_JSON >> 20} MB")
    return path.read_bytes()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tidy(path: Path, keep: str) -> None:
    """Remove what earlier or killed saves left behind."""
    for old in path.glob("content-*"):
        if old.name != keep:
            shutil.rmtree(old, ignore_errors=True)
    for old in path.glob(".manifest-*"):
        old.unlink(missing_ok=True)
