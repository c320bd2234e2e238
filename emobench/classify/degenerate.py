"""Text that is no reply: loops, floods of keywords, fragments, code, other languages. Rules, so that each is legible.

A classifier of emotions takes "fear terror dread horror" for fear; a reader takes it for a broken model.
"""

from __future__ import annotations

import re
from collections import Counter

MIN_WORDS = 3
MIN_LETTERS = 0.6
"""Least share of letters among the characters that are no space."""
MIN_FUNCTION_WORDS = 0.2
"""Least share of function words in a text of `LONG` words; English prose has 40 to 55 %."""
MAX_ONE_WORD = 0.3
MIN_DISTINCT = 0.4
"""Least share of distinct words in a text of `LONG` words."""
MAX_REPEATED = 0.35
"""Greatest share of words that lie in a three-word sequence seen before."""
LONG = 10

FUNCTION_WORDS = frozenset(
    """
    a about above across after again against all almost along already also although always am among an and
    another any anyone anything are aren't around as at away back be because been before behind being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each
    either else enough even ever every everyone everything for from further get gets getting give go goes going
    got had hadn't has hasn't have haven't having he her here hers herself him himself his how however i i'd
    i'll i'm i've if in into is isn't it it's its itself just know let let's like made make makes making many
    may maybe me might mine more most much must my myself need never no nobody none nor not nothing now of off
    on once one only onto or other our ours ourselves out over own perhaps quite rather really shall she should
    shouldn't since so some someone something still such take than that that's the their theirs them themselves
    then there there's these they they're thing things this those though through thus to together too toward
    towards under unless until up upon us very was wasn't way we we'll we're we've well were weren't what what's
    whatever when where whether which while who whole whom whose why will with within without won't would
    wouldn't yes yet you you'd you'll you're you've your yours yourself
    """.split()  # noqa: SIM905 - readable as prose
)


def degeneracy(text: str) -> str | None:
    """Why a text is degenerate, or None."""
    words = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower().replace("’", "'"))
    dense = [character for character in text if not character.isspace()]
    if len(words) < MIN_WORDS:
        return "fragment"
    if sum(c.isalpha() for c in dense) < MIN_LETTERS * len(dense):
        return "few letters"
    if sum(c.isalpha() and not c.isascii() for c in dense) > len(dense) / 4:
        return "not English"
    if len(words) < LONG:
        return "loop" if max(Counter(words).values()) > max(2, len(words) / 2) else None
    counts = Counter(words)
    content = [count for word, count in counts.items() if word not in FUNCTION_WORDS]
    if content and max(content) > MAX_ONE_WORD * len(words):
        return "loop"
    if len(words) <= 100 and len(counts) < MIN_DISTINCT * len(words):
        return "loop"
    if _repeated(words) > MAX_REPEATED * len(words):
        return "loop"
    if sum(word in FUNCTION_WORDS for word in words) < MIN_FUNCTION_WORDS * len(words):
        return "no sentences"
    return None


def _repeated(words: list[str]) -> int:
    """How many words end a three-word sequence that stood before."""
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    for triple in zip(words, words[1:], words[2:], strict=False):
        repeated += triple in seen
        seen.add(triple)
    return repeated
