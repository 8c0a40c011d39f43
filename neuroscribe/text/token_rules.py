"""Whether a tokenizer in memory splits text as the file says that it was loaded from.

Many classes of transformers build rules of their own around a file's vocabulary, in silence; the ids that
come of it are not those that the model was trained with.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from neuroscribe.errors import SubjectError
from neuroscribe.text.token_bytes import TokenizerFacts, encoding


def check_rules(tokenizer: Any, facts: TokenizerFacts, texts: Iterable[str]) -> None:
    """Raise SubjectError where the tokenizer.json that a tokenizer came from gives a text other ids."""
    if (file := _file(tokenizer)) is None:
        return
    encode = encoding(file.read_text(encoding="utf-8"))
    for text in texts:
        if encode(text) != facts.encode(text):
            raise SubjectError(
                f"{type(tokenizer).__name__} splits {text[:40]!r} otherwise than {file} says, by which the"
                f" model was trained; load it by PreTrainedTokenizerFast.from_pretrained, or set"
                " tokenizer.name_or_path = '' if you changed it on purpose"
            )


def _file(tokenizer: Any) -> Path | None:
    """Return the tokenizer.json beside which a tokenizer was found, in a folder or in the hub's cache."""
    from transformers.utils import hub

    if not (name := getattr(tokenizer, "name_or_path", "")):
        return None
    silent = {f"_raise_exceptions_for_{kind}": False for kind in ("missing_entries", "connection_errors")}
    try:
        found = cast(Any, hub).cached_file(str(name), "tokenizer.json", local_files_only=True, **silent)
    except (OSError, ValueError):  # no name that a hub could know
        return None
    return Path(found) if found else None
