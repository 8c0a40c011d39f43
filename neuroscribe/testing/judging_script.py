"""A judge of the planted subject's neurons that knows the truth, behind the scripted server."""

import re
from dataclasses import dataclass

from neuroscribe.testing.planted import GROUPS, PlantedScript
from neuroscribe.text.escaping import escaped, unforged

_TOKEN = re.compile(r"< ?script>|\\[ntx]\w*|\\u\w{4}| ?[^\W\d_]+| ?\d+|.", re.DOTALL)
_EXCERPT, _DESCRIPTION = "Excerpt: ", "Description: "


@dataclass(frozen=True)
class JudgingScript(PlantedScript):
    """Answers judging prompts rightly, or always `says`; all others as the planted script does."""

    says: str = ""

    def reply(self, prompt_text: str) -> str:
        """Answer yes where a token of the excerpt, or the marked ones, are of the description's groups."""
        last = prompt_text.rstrip().rsplit("\n\n", 1)[-1]
        if not last.startswith(_EXCERPT):
            return super().reply(prompt_text)
        description = prompt_text.rsplit(_DESCRIPTION, 1)[1].split("\n", 1)[0]
        return self.says or ("yes" if fits(description, last.removeprefix(_EXCERPT)) else "no")


def fits(description: str, excerpt: str) -> bool:
    """Tell whether the excerpt's marked tokens, or any token of one without marks, are of those groups."""
    groups = [GROUPS[name] for name in description.split(" or ") if name in GROUPS]
    tokens = {token for group in groups for token in group}
    known = tokens | {unforged(escaped(token.encode())) for token in tokens}
    marked = re.findall(r"<< (.*?) >>", excerpt)
    if marked:
        return sum(token in known for token in marked) * 2 > len(marked)
    return any(token in known for token in _TOKEN.findall(excerpt))
