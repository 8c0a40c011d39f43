"""A judge of what the planted subject writes that knows the truth, behind the scripted server."""

import re
from dataclasses import dataclass

from neuroscribe.testing.judging_script import JudgingScript
from neuroscribe.testing.planted import GROUPS
from neuroscribe.text.escaping import escaped, unforged

_DESCRIPTION, _SET = "Description: ", re.compile(r"^Set (\d+):$", re.MULTILINE)


@dataclass(frozen=True)
class ChoosingScript(JudgingScript):
    """Answers which set fits a description by the tokens that it names; all else as the judging script does."""

    def reply(self, prompt_text: str) -> str:
        """Answer with the number of the set with most tokens of the groups that are named, or that hold one."""
        last = prompt_text[prompt_text.rfind(_DESCRIPTION) :]
        if not _SET.search(last):
            return super().reply(prompt_text)
        described, *sets = re.split(r"^Set \d+:$", last, flags=re.MULTILINE)
        wanted = _tokens(described.partition("; ")[0])
        fitting = [sum(each.count(token) for token in wanted) for each in sets]
        return str(fitting.index(max(fitting)) + 1)


def _tokens(described: str) -> set[str]:
    """Return the words of the groups that a description names, or of which it names a token."""
    quoted = set(re.findall(r'"([^"]*)"', described))
    words = {
        name: {unforged(escaped(token.encode())).strip(" ") for token in tokens} - {""}
        for name, tokens in GROUPS.items()
    }
    meant = [held for name, held in words.items() if name in described or quoted & held]
    return {word for held in meant for word in held}
