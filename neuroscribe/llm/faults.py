"""What an answer may hold instead of an explanation: a refusal, thoughts, the prompt's own lists.

Judged by patterns, in favour of losing a rare good answer over keeping a bad one: what is lost is a row with
its status, what is kept is simulated, scored and published.
"""

import re
from typing import Literal

Fault = Literal["refused", "reasoning", "unparsable"]

_I = r"(i|we)\b"
_SHARED = r"(pattern|theme|feature|connection|meaning)"
_DECLINED = "|".join(
    (
        rf"{_I}\s*(can['’]?t|cannot|could not|couldn['’]?t|won['’]t|will not|do not|don['’]t|decline|refuse"
        r"|apologi[sz]e)\b",
        r"(i['’]?m|i am)\s+(sorry|afraid|unable|not (able|sure|certain)|an? (ai|(large )?language model))\b",
        r"(sorry|apologies|unfortunately)\s*[,.;:!—-]",
        r"as an? (ai|(large )?language model)\b",
        r"(unable|impossible|not possible) to (tell|say|determine|identify|find|explain|comply)\b",
        r"(it|that|this) (is|cannot be|can['’]t be) (not possible|impossible|determined|unclear)\b",
        r"cannot be (determined|identified|explained)\b",
        r"(there (is|seems to be|appears to be) )?(no|not any|not a) (clear|apparent|obvious|discernible"
        rf"|consistent|common|single) {_SHARED}\b",
        rf"(there|the \w+) (is|are|does|do)(n['’]?t| not)\b.{{0,30}}\b{_SHARED}\b",
        rf"no (\w+ )?({_SHARED}|answer|explanation)"
        r"( (was |is )?(found|available|given|identified|detected))?\W*$",
        r"(not enough|insufficient) (information|context|data|excerpts|examples)\b",
        r"(n/a|none( of the above)?|unclear|unknown|nothing( in common)?)\W*$",
        r"not (applicable|sure|certain|clear)\W*$",
        r"(don['’]?t know|can['’]?t (say|tell)|cannot (say|tell|determine))\W*$",
        r"(please|could you|can you)( please)? (provide|share|clarify)\b",
        r"my apologies\b|(the|this) (assistant|request) (cannot|can['’]?t|will not|violates)\b",
        r"(je (suis désolé|ne peux pas)|désolé,|lo siento|no puedo|es tut mir leid|mi dispiace)",
        r"(ich kann (das |dazu )?nicht|das kann ich nicht)\b",
        r"((很)?抱歉|对不起|我(无法|不能)|作为.{0,6}(ai|人工智能))",
        r"(申し訳|対応できません|죄송합니다)",
    )
)
_THOUGHT = "|".join(
    (
        r"((ok|okay|alright|all right|hmm+)\s*[,.!:…—-]*|(wait|well|so|right|sure|great)\s*[,.!:…—-]+)\s*"
        r"(so|let|the|this|i|we|first|now|looking|here|that|what)\b",
        r"let['’]?s\s+(see|look|start|think|analy[sz]e|break|go|try|consider|find|examine|figure)\b",
        r"let me\s+(see|look|start|think|analy[sz]e|break|go|try|consider|find|examine|figure|check)\b",
        rf"{_I}\s*(need|have|want|should|must|will|am going|are going|notice|see|think|guess|observe)\b",
        r"(i['’](ll|m|d)|we['’](re|ll|ve))\s+(need|have|going|looking|asked|given|analy[sz]e|supposed|start)",
        r"(first|next|then|finally)\s*,\s*(i|we|let|the|look)\b",
        r"(the user|the question|the prompt|the task) (wants|is|asks|says|gives|provided)\b",
        r"(to|in order to) (determine|find|identify|understand|figure|answer|solve|explain)"
        r" (what|the|out|which|this)\b",
        r"looking at (the|these|this|all)\b",
        r"(step|thought|thoughts|reasoning|analysis)\s*\d*\s*:",
        r"<\|channel\|>",
    )
)
_THINK_TAG = re.compile(r"</?(think|thinking|thought|thoughts|reasoning|scratchpad)\b[^>]*>", re.IGNORECASE)
_REFUSAL = re.compile(_DECLINED, re.IGNORECASE)
_REASONING = re.compile(_THOUGHT, re.IGNORECASE)
_NO_PHRASE = re.compile(
    r"\W*(null|nil|nan|undefined|redacted|no answer|content[ _]filter(ed)?"
    r"|failed|refused|unparsable|too_long|truncated)\W*"
    r"|[\[<(](empty|answer|explanation)[\])>]"
    r"|(<\|[^|]*\|>\s*(assistant|user|system)?\s*)+",
    re.IGNORECASE,
)
"""What programs write in place of a phrase; a template's own marks."""
_SERVERS_WORDS = re.compile(
    r"<(!doctype|html|head|body)\b|\{\s*\"(error|detail|message)\"\s*:|error( \d{3})?:"
    r"|upstream connect error|rate limit exceeded"
    r"|\d{3} (bad gateway|service unavailable|internal server error|gateway time-?out|too many requests)"
    r"|(internal server error|bad gateway|service unavailable|request timed out|too many requests)\W*$"
    r"|the (model|server|engine) is (currently |temporarily )?(overloaded|unavailable|loading|busy)\b"
    r"|(here is|here's|the answer is|sure)\b[^:]*:$",
    re.IGNORECASE,
)
"""How pages and errors of a server begin that come in place of an answer, and announcements of one."""
_VALUE = r"(?:10|\d)"
_TOKEN = r"[\"'`]?[^\s\"'`,;:=()|]+[\"'`]?"  # noqa: S105 - a pattern
_LISTED = re.compile(
    rf"{_TOKEN}(?:\s*[:=]\s*|\s*\(\s*|\s+){_VALUE}\b\)?(?:[\s,;|]+{_TOKEN}(?:\s*[:=]\s*|\s*\(\s*|\s+){_VALUE}\b\)?)+"
)
_PAIR = re.compile(r"\t\s*\d|\d\s*\t")
_MARK = re.compile(r"<<[^<>]+>>")


def fault(text: str) -> Fault | None:
    """Return what makes a text no explanation, None if nothing is seen."""
    start, bare = text.lstrip(" \t\n\r*_#>-"), text.strip()
    if _REFUSAL.match(start):
        return "refused"
    if _THINK_TAG.search(text) or _REASONING.match(start):
        return "reasoning"
    if _NO_PHRASE.fullmatch(bare) or _SERVERS_WORDS.match(start) or _SERVERS_WORDS.match(bare):
        return "unparsable"
    is_listed = _PAIR.search(text) or _MARK.search(text) or _LISTED.fullmatch(bare)
    return "unparsable" if is_listed else None


def without_thoughts(answer: str) -> str:
    """Return an answer without the closed block of thoughts that it begins with.

    Servers without a parser for reasoning send `<think>...</think>` before the answer, or only its end where
    their template gives the beginning. The answer after it counts like any other; thoughts that are not
    closed, or stand elsewhere, stay, and `fault` finds them.
    """
    tags = list(_THINK_TAG.finditer(answer))
    opened = [tag for tag in tags if not tag[0].startswith("</")]
    closed = [tag for tag in tags if tag[0].startswith("</")]
    begins = not opened or not answer[: opened[0].start()].strip()
    if not closed or not begins or (opened and opened[-1].start() > closed[-1].start()):
        return answer
    rest = answer[closed[-1].end() :]
    ends_a_line = bool(opened) or rest.startswith(("\n", "\r"))
    return rest if rest.strip() and ends_a_line else answer
