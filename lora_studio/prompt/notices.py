"""What the parser has to say about a prompt: a code, the values its sentence needs, and where in the text.

No sentence stands here: a page says each code in its own language. The codes and their values:

    style_unknown         {name}                a chosen style that no file has
    style_too_long        {name, length, allowed}   its text would make the prompt too long; not applied
    style_file_columns    {columns}             a styles file without the columns name and prompt (or text)
    style_file_row        {line, problem}       a row of a styles file that cannot be read (problem: name, csv)
    tag_not_applied       {tag, part}           a <lora:...> tag whose `part` is no finite number, or without a name
    tag_option_inactive   {tag, option}         dyn=, lbwe=, x=, lbw= without a base: read, without effect
    tag_option_unknown    {tag, option}         another name before `=`: ignored, as A1111 does
    tag_option_unreadable {tag, option}         start=, stop= or step= that is no step and no share of them
    tag_unsupported       {tag, kind}           <hypernet:...>: taken out of the text, not applied
    tag_unknown           {tag, kind}           <anything:...>: taken out of the text, not applied
    tag_in_negative       {tag}                 a tag in the negative prompt: stays there as words
    weight_clamped        {given, used}         a weight beyond 1e4
    weight_not_number     {text, number}        (x:1.2.3): read as words, the bracket counts 1.1
    prompt_weighted       {weight}              a weight at the end of a prompt without AND: it is that of the whole
    bracket_unclosed      {bracket, count}      ( or [ never closed: weighs everything after it
    bracket_stray         {bracket, count}      ) or ] never opened: read as a character
    break_weighted        {weight}              BREAK inside weighted brackets: encoded as the word, breaks nothing
    schedule_literal      {text}                square brackets with : or | that are no schedule: weighed as [x] is
    schedule_number       {text, number}        a step beyond all numbers: the brackets are words
    schedule_off          {text, because}       a stray | or \\ turns every schedule of the text into words
    schedule_never        {text, step, steps}   a change that comes after the last step
    full_width            {characters, count}   full-width characters that look like the language's own
    embedding_too_long    {name, vectors, allowed}  an embedding that fits in no chunk: read as words
    more_alike            {code, count}         `count` further warnings of that code were left out

Said where alternatives are drawn:

    dynamic_brace         {count}               { or } without a partner: read as characters
    dynamic_limit         {text, allowed}       too much to draw: from there on it stays as it is
    dynamic_variable      {text}                ${...}, a variable of Dynamic Prompts: it stays as it is
    wildcard_unknown      {name}                __name__ without such a wildcard: stays as it is
    wildcard_in_itself    {name}                a wildcard in its own lines, or too deep: stays as it is

Said where the names of a text are looked up:

    adapter_not_found     {tag, name}           a <lora:...> tag that names no adapter of the library
    adapter_not_found_near {tag, name, near}    the same, with names that are like it
    adapter_several       {tag, name, near}     several files have that name, and none that label: none is applied
    adapter_also          {tag, name, near}     a label that is the name of other files too: the labelled one is meant
    tag_overruled         {tag, name, weight}   the mix has that adapter with another weight, which is used
    tag_weight_limit      {tag, allowed}        a weight beyond what a mix may have; held there
    tag_places_differ     {tag, name}           several tags of an adapter in different steps or blocks: the last holds
    tag_places_overruled  {tag, name}           the mix has that adapter in other steps or blocks, which are used
    tag_steps_none        {tag, steps}          in none of the steps it would act on the picture
    tag_blocks_unreadable {tag, option, allowed}  lbw= that is no preset and no list of this base: all blocks act
    embedding_misfit      {name}                an installed embedding for another kind of base: read as words
    embedding_not_installed {name}              a word that looks like an embedding's name: read as ordinary words

It does not know the stages that find them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lora_studio.prompt.source import Place

Value = str | int | float

ALIKE = 8
"""How many warnings of one code are kept; the rest is counted."""

QUOTED = 80
"""Characters of the text that a warning quotes at most."""


@dataclass(frozen=True)
class PromptWarning:
    """One thing to tell the person; `position` is None where it concerns no place of what was typed."""

    code: str
    values: Mapping[str, Value] = field(default_factory=dict)
    position: Place | None = None


def warning(code: str, position: Place | None = None, /, **values: Value) -> PromptWarning:
    """A warning with these values."""
    return PromptWarning(code, values, position)


def quote(text: str) -> str:
    """`text`, its middle left out where it is long."""
    half = QUOTED // 2
    return text if len(text) <= QUOTED else f"{text[:half]}…{text[1 - half :]}"


def gather(warnings: Iterable[PromptWarning]) -> tuple[PromptWarning, ...]:
    """Each warning once, at most `ALIKE` of a code, then one `more_alike` for each code that had more."""
    kept: list[PromptWarning] = []
    seen: set[object] = set()
    count: Counter[str] = Counter()
    for found in warnings:
        key = (found.code, found.position, tuple(found.values.items()))
        if key in seen:
            continue
        seen.add(key)
        count[found.code] += 1
        if count[found.code] <= ALIKE:
            kept.append(found)
    more = [PromptWarning("more_alike", {"code": c, "count": n - ALIKE}) for c, n in count.items() if n > ALIKE]
    return (*kept, *more)
