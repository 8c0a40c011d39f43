import json
from pathlib import Path

import polars as pl
import pytest

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.text.documents import Document
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
        ('{"body": "x"}', r"line 2: no key 'text' \(found body\); set corpus.text_column"),
        ('{"text": null}', r"line 2: 'text' is null; remove lines without text"),
        ('{"text": 5}', r"line 2: 'text' holds a number, no text; set corpus.text_column"),
        ('{"text": ["a"]}', r"line 2: 'text' holds a list, no text"),
        ("[1]", r"line 2: a list where an object with the key 'text' belongs"),
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

    with pytest.raises(CorpusError, match=r"has no column 'text'; .*found id \(Int64\), body \(String\)"):
        read(tmp_path / "a.parquet")


def test_a_column_of_another_type_or_of_nulls_alone_is_said_to_be_one(tmp_path: Path) -> None:
    for column, finding in (([1, 2], "'text' holds Int64, no text"), ([None], "'text' is null in every row")):
        pl.DataFrame({"text": column}).write_parquet(tmp_path / "a.parquet")
        with pytest.raises(CorpusError, match=finding):
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


def texts_in(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")


def names(pattern: str | Path) -> list[str]:
    return [document.text for document in read(pattern)]


def test_a_glob_leaves_out_names_that_begin_with_a_dot_as_a_shell_does(tmp_path: Path) -> None:
    texts_in(tmp_path, "a.txt", "._a.txt", ".#a.txt", ".ipynb_checkpoints/a.txt", "b/c.txt", "b/.git/d.txt")
    assert names(tmp_path / "*.txt") == ["a.txt"]
    assert names(tmp_path / "**/*.txt") == ["a.txt", "b/c.txt"]
    assert names(tmp_path / "*/*.txt") == ["b/c.txt"]


def test_what_names_the_dot_itself_gets_such_names(tmp_path: Path) -> None:
    texts_in(tmp_path, "a.txt", ".b.txt", ".c/d.txt", ".e/.f.txt")
    assert names(tmp_path / ".*.txt") == [".b.txt"]
    assert names(tmp_path / ".b.txt") == [".b.txt"]
    assert names(tmp_path / ".c/*.txt") == [".c/d.txt"]
    assert names(tmp_path / ".*/*.txt") == [".c/d.txt"]
    assert names(tmp_path / "**/.e/**/.f*") == [".e/.f.txt"]


def test_a_hidden_folder_above_the_glob_is_no_matter(tmp_path: Path) -> None:
    texts_in(tmp_path, ".hidden/x/a.txt")
    assert names(tmp_path / ".hidden/x/*.txt") == [".hidden/x/a.txt"]


def test_a_name_that_is_there_with_its_brackets_is_no_pattern(tmp_path: Path) -> None:
    texts_in(tmp_path, "notes [2024]/a.txt", "notes [2024]/b[1].txt", "notes 2/c.txt", "d1.txt", "d2.txt")
    assert names(tmp_path / "notes [2024]/*.txt") == ["notes [2024]/a.txt", "notes [2024]/b[1].txt"]
    assert names(tmp_path / "notes [2024]/b[1].txt") == ["notes [2024]/b[1].txt"]
    assert names(tmp_path / "d[12].txt") == ["d1.txt", "d2.txt"]


def test_an_address_of_this_disk_has_brackets_as_its_path_has(tmp_path: Path) -> None:
    texts_in(tmp_path, "notes [2024]/a.txt")
    assert names(f"file://{tmp_path}/notes [2024]/*.txt") == ["notes [2024]/a.txt"]


def test_s3_has_hidden_names_and_brackets_as_a_disk_has(bucket) -> None:
    for name in ("a.txt", "._a.txt", ".git/b.txt", "c [1]/d.txt"):
        bucket.client.put_object(Bucket="neurons", Key=f"store/{name}", Body=name.encode())

    def found(pattern: str) -> list[str]:
        source = Texts(endpoint_url=bucket.endpoint_url).open(CorpusSpec(files=pattern, sequences=1))
        return [document.text for document in source.documents()]

    assert found(f"{bucket.root}/**/*.txt") == ["a.txt", "c [1]/d.txt"]
    assert found(f"{bucket.root}/*.txt") == ["a.txt"]
    assert found(f"{bucket.root}/c [1]/*.txt") == ["c [1]/d.txt"]
    assert found(f"{bucket.root}/.git/*.txt") == [".git/b.txt"]


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ("gs://bucket/*.txt", "of the kind gs://, which is not reached; name a local folder or s3://"),
        ("https://host/a.txt", "of the kind https://, which is not reached"),
        ("foo://bucket/a.txt", "of the kind foo://"),
        ("s3://nowhere/a/*.txt", "names no file|the bucket does not exist"),
        ("a\0b.txt", "names no file|no path or glob"),
        ("texts/**x/*.txt", "names no file|no path or glob"),
        ("~nobody-of-this-name/*.txt", "leads nowhere"),
        ("~/no texts of ours/*.txt", "names no file below /"),
    ],
)
def test_files_that_are_not_reached_are_refused_when_they_are_opened(
    s3_endpoint: str, files: str, finding: str
) -> None:
    with pytest.raises(CorpusError, match=finding) as raised:
        Texts(endpoint_url=s3_endpoint).open(CorpusSpec(files=files, sequences=1))
    assert str(raised.value).startswith("corpus.files = ")


def test_files_that_may_not_be_read_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    with pytest.raises(CorpusError, match=r"names no file|lead in a circle"):
        Texts().open(CorpusSpec(files=str(tmp_path / "loop.txt"), sequences=1))
