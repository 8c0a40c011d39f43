import json
from pathlib import Path

import polars as pl
import pytest

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.text.corpus import Document
from resources.texts import TextFiles, Texts, WikipediaLeads

HOSTILE = "<script>\n\t\x00 \u202e abc 😀"


def read(pattern: str | Path, *, text_column: str = "text") -> list[Document]:
    return list(TextFiles(str(pattern), text_column=text_column).documents())


def test_articles_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "summaries.json"
    articles = {title: {"title": title, "extract": f"{title} is."} for title in ("Zebra", "Apple")}
    path.write_text(json.dumps(articles), encoding="utf-8")
    leads = WikipediaLeads(path, revision="abc")

    assert list(leads.documents()) == [Document("Zebra", "Zebra is."), Document("Apple", "Apple is.")]
    assert leads.revision == "abc"


def test_an_article_without_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "summaries.json"
    path.write_text(json.dumps({"Zebra": {"title": "Zebra"}}), encoding="utf-8")

    with pytest.raises(CorpusError, match="'Zebra' has no text `extract`"):
        list(WikipediaLeads(path, revision="abc").documents())


def test_each_text_file_is_one_document_in_the_order_of_paths(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"second\r\nline")
    (tmp_path / "a.txt").write_text(HOSTILE, encoding="utf-8", newline="")

    assert read(tmp_path / "*.txt") == [Document("a.txt", HOSTILE), Document("b.txt", "second\r\nline")]


def test_a_mark_before_the_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbftext")

    assert read(tmp_path / "a.txt") == [Document("a.txt", "text")]


def test_bytes_that_are_no_text_are_placed_by_file_byte_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo \xff three")

    with pytest.raises(CorpusError, match=r"a\.txt: byte 8 \(line 2\) is no UTF-8.*convert the file"):
        read(tmp_path / "a.txt")


def test_json_lines_are_documents_and_blank_lines_are_not(tmp_path: Path) -> None:
    lines = [
        json.dumps({"body": HOSTILE}),
        "",
        json.dumps({"body": "line\u2028separator"}, ensure_ascii=False),
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    assert read(tmp_path / "a.jsonl", text_column="body") == [
        Document("a.jsonl, line 1", HOSTILE),
        Document("a.jsonl, line 3", "line\u2028separator"),
    ]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('{"text": "torn', r"line 2: no valid JSON"),
        ('{"body": "x"}', r"line 2: no text under 'text' \(found body\).*text_column"),
        ('{"text": null}', r"line 2: no text under 'text'"),
        ("[1]", r"line 2: no text under 'text' \(found a list\)"),
        ('{"text": "half a \\ud800 pair"}', r"line 2: character 7 of 'text'.*surrogate pair \(\\ud800\)"),
        ("[" * 100_000, r"line 2: no valid JSON \(nested too deeply\)"),
        ('{"text": "x", "n": ' + "9" * 5000 + "}", r"line 2: no valid JSON \(a number has too many digits\)"),
    ],
)
def test_a_bad_json_line_is_named_by_its_number(tmp_path: Path, line: str, finding: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n", encoding="utf-8")

    with pytest.raises(CorpusError, match=finding):
        read(tmp_path / "a.jsonl")


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1, 2], "text": ["one", HOSTILE]}).write_parquet(tmp_path / "a.parquet")

    assert read(tmp_path / "a.parquet") == [
        Document("a.parquet, row 0", "one"),
        Document("a.parquet, row 1", HOSTILE),
    ]


def test_a_parquet_file_without_the_column_is_answered_with_its_columns(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "body": ["one"]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(
        CorpusError, match=r"no column 'text' of text \(found id \(Int64\), body \(String\)\)"
    ):
        read(tmp_path / "a.parquet")


def test_a_row_without_text_is_not_left_out_in_silence(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["one", None]}).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(CorpusError, match="row 1: 'text' is null"):
        read(tmp_path / "a.parquet")


def test_a_file_that_is_no_parquet_is_a_corpus_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"text")

    with pytest.raises(CorpusError, match=r"a\.parquet: no readable Parquet file"):
        read(tmp_path / "a.parquet")


def test_no_file_and_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"names no file; give a file, or a glob"):
        read(tmp_path / "*.txt")

    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(CorpusError, match=r"'\.pdf' are not read"):
        read(tmp_path / "*")


def test_the_revision_is_the_content_and_not_the_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("text", encoding="utf-8")
    one, two = (TextFiles(str(tmp_path / name / "*.txt"), text_column="text") for name in ("one", "two"))
    (tmp_path / "two" / "b.txt").write_text("more", encoding="utf-8")
    more = TextFiles(str(tmp_path / "two" / "*.txt"), text_column="text")

    assert one.revision != more.revision
    (tmp_path / "two" / "b.txt").unlink()
    assert one.revision == two.revision


def test_files_on_s3_are_read_like_local_ones(bucket) -> None:
    for name, text in {"b.txt": "second", "a.txt": HOSTILE}.items():
        bucket.client.put_object(Bucket="neurons", Key=f"store/deep/{name}", Body=text.encode())
    texts = Texts(endpoint_url=bucket.endpoint_url)

    source = texts.open(CorpusSpec(files=f"{bucket.root}/**/*.txt", sequences=1))

    assert list(source.documents()) == [Document("a.txt", HOSTILE), Document("b.txt", "second")]
    assert len(source.revision) == 64
