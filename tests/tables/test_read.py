import gzip

import pandas as pd
import pytest

from workbench import read_table
from workbench.core.errors import FileFormatError, ParameterError


@pytest.fixture
def write(tmp_path):
    def go(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return go


def test_texts_that_look_like_gaps_are_texts(write):
    df = read_table(write("level,n,f,b\nNone,1,1.5,True\nNA,,,False\nnull,3,nan,True\n,4,2,True\n"))
    assert df["level"].tolist() == ["None", "NA", "null", None]
    assert df["n"].isna().sum() == 1 and df["n"].dtype == float
    assert df["b"].dtype == bool
    assert read_table(write("a\nNA\n3\n"), missing=["NA"])["a"].tolist()[1] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,4,5\n", "line 3.*3 fields, the header has 2"),
        ("a,b\n1\n", "line 2.*1 fields"),
        ("a,a\n1,2\n", "line 1.*'a' appears twice"),
        ("a,\n1,2\n", "no name"),
        ("", "empty"),
        ("a,b\n1,\0\n", "zero bytes"),
        ('a,b\n1,"x\n', "line"),
        (b"a,b\n1,\xff\n", "line 2.*not utf-8.*encoding="),
    ],
)
def test_broken_files_are_refused_with_their_line(write, text, message):
    with pytest.raises(FileFormatError, match=message):
        read_table(write(text))


def test_other_formats(tmp_path, people, write):
    people.to_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "p.parquet"), people)
    people.reset_index(drop=True).to_feather(tmp_path / "p.feather", compression="uncompressed")
    assert read_table(tmp_path / "p.feather").shape == people.shape
    zipped = write(gzip.compress(b"a\tb\n1\t2\n"), "z.tsv.gz")
    assert read_table(zipped)["b"].tolist() == [2]
    with pytest.raises(FileFormatError, match="not a readable parquet"):
        read_table(write("nonsense", "x.parquet"))
    with pytest.raises(FileFormatError, match="can't be unpacked"):
        read_table(write(gzip.compress(b"a,b\n" * 999)[:30], "cut.csv.gz"))
    with pytest.raises(ParameterError, match="format"):
        read_table(write("a\n1\n", "x.dat"))
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "nowhere.csv")


def test_a_byte_order_mark_is_no_name(write):
    assert list(read_table(write(b"\xef\xbb\xbfa,b\n1,2\n"))) == ["a", "b"]
    assert read_table(write("a\ngr\xfcn\n".encode("latin-1")), encoding="latin-1")["a"][0] == "grün"
