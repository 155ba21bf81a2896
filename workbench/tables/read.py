"""Read a table from a file without letting the reader guess what the file doesn't say."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..core.errors import FileFormatError, ParameterError

_MAX_BYTES = 4 * 2**30
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}


def read_table(
    path: str | Path,
    *,
    format: str | None = None,
    missing: Sequence[str] = ("",),
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
) -> pd.DataFrame:
    """Read CSV, TSV, parquet or Arrow into a DataFrame.

    Unlike ``pandas.read_csv``, a row with too many or too few fields is an error with its line
    number (nothing is shifted), only the texts in ``missing`` mean an empty cell ("None" and "NA"
    stay what they are), and repeated column names are refused rather than renamed.

    Args:
        path: The file; ``.gz`` is unpacked.
        format: ``"csv"``, ``"tsv"``, ``"parquet"`` or ``"arrow"``; from the suffix if left out.
        missing: Texts that stand for an empty cell.
        encoding: Of a text file.
        separator: Between fields of a text file; from the format if left out.
        decimal: Decimal mark of a text file, e.g. ``","``.

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: Wrong number of fields, repeated names, undecodable bytes, not the format.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "t.csv"
        >>> _ = file.write_text("name,n\\nNA,1\\nNone,2\\n")
        >>> read_table(file)["name"].tolist()
        ['NA', 'None']
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > _MAX_BYTES:
        raise FileFormatError(f"is larger than {_MAX_BYTES >> 30} GB", path=path)
    suffixes = [s.lower() for s in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = "".join((suffixes[:-1] if zipped else suffixes)[-1:])
    kind = format or _FORMATS.get(suffix)
    if kind not in ("csv", "tsv", "parquet", "arrow"):
        raise ParameterError(
            "can't be told from the file's name",
            column="format",
            value=format or path.name,
            advice="Pass format='csv', 'tsv', 'parquet' or 'arrow'.",
        )
    if kind in ("csv", "tsv"):
        separator = separator or ("," if kind == "csv" else "\t")
        return _read_text(path, zipped, separator, list(missing), encoding, decimal)
    import pyarrow as pa

    try:
        if kind == "parquet":
            frame = pd.read_parquet(path)
        else:
            with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
                frame = reader.read_all().to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise FileFormatError(f"is not a readable {kind} file: {error}", path=path) from error
    return frame


def _read_text(
    path: Path, zipped: bool, separator: str, missing: list[str], encoding: str, decimal: str
) -> pd.DataFrame:
    try:
        raw = gzip.open(path).read() if zipped else path.read_bytes()
        text = raw.decode(encoding.replace("utf-8", "utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise FileFormatError(
            f"is not {encoding} text",
            path=path,
            line=line,
            advice="Pass encoding=, e.g. encoding='latin-1'.",
        ) from error
    except (OSError, EOFError) as error:
        raise FileFormatError(f"can't be unpacked: {error}", path=path) from error
    if "\0" in text:
        raise FileFormatError("is not a text file: it holds zero bytes", path=path)
    _check_rows(text, separator, path)
    frame = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        decimal=decimal,
        keep_default_na=False,
        na_values=missing,
        dtype_backend="numpy_nullable",
        low_memory=False,
    )
    return _plain_types(frame)


def _check_rows(text: str, separator: str, path: Path) -> None:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next(rows, None)
        if not header:
            raise FileFormatError("is empty", path=path)
        other = next((c for c in ";\t|," if c != separator and c in header[0]), None)
        if len(header) == 1 and other:
            raise FileFormatError(
                f"the header {header[0][:60]!r} holds {other!r} and no {separator!r}",
                path=path,
                line=1,
                advice=f"Pass separator={other!r}, and decimal=',' if numbers are written so.",
            )
        for i, name in enumerate(header):
            if name in header[:i] or not name:
                problem = f"column name {name!r} appears twice" if name else "a column has no name"
                raise FileFormatError(problem, path=path, line=1, advice="Name each column once.")
        for row in rows:
            if row and len(row) != len(header):
                raise FileFormatError(
                    f"has {len(row)} fields, the header has {len(header)}",
                    path=path,
                    line=rows.line_num,
                    advice="A text with a separator in it must be quoted.",
                )
    except csv.Error as error:
        raise FileFormatError(str(error), path=path, line=rows.line_num) from error


def _plain_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole-number columns with gaps become float64, the rest what pandas infers."""
    out = {}
    for name, column in frame.items():
        kind = column.dtype
        if pd.api.types.is_integer_dtype(kind) or pd.api.types.is_float_dtype(kind):
            out[name] = (
                column.to_numpy(dtype=float, na_value=float("nan"))
                if column.isna().any() or pd.api.types.is_float_dtype(kind)
                else column.to_numpy(dtype="int64")
            )
        elif pd.api.types.is_bool_dtype(kind) and not column.isna().any():
            out[name] = column.to_numpy(dtype=bool)
        else:
            out[name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(out, columns=frame.columns)
