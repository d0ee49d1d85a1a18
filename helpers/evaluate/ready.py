"""Ready-made checks, to be imported into a file of your own, or made there: starts_well = matches(r"^Dear ").

A check takes (messages, reply, reference); what a name with brackets gives is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

Check = Callable[[list[dict], str, str], bool]


def _json(text: str):
    """What `text` is in JSON; None where it is none, or holds a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except (ValueError, RecursionError):
        return None


def _each_key_once(pairs: list[tuple]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def valid_json(messages: list[dict], reply: str, reference: str) -> bool:
    """The reply is one JSON object or list, and nothing else."""
    return isinstance(_json(reply), (dict, list))


def json_schema(schema: dict) -> Check:
    """The reply is JSON that fits `schema` (json-schema.org)."""
    from jsonschema.validators import validator_for

    kind = validator_for(schema)
    kind.check_schema(schema)
    validator = kind(schema)

    def fits_schema(messages: list[dict], reply: str, reference: str) -> bool:
        """The reply is JSON that fits the schema."""
        return valid_json(messages, reply, reference) and validator.is_valid(_json(reply))

    return fits_schema


def same_fields(*names: str) -> Check:
    """These fields of the reply are those of the reference; without names, all of both."""

    def fields_equal(messages: list[dict], reply: str, reference: str) -> bool:
        """The fields are those of the reference."""
        given, right = _json(reply), _json(reference)
        if not isinstance(given, dict) or not isinstance(right, dict):
            return False
        if not names:
            return given == right
        return all(name in given and name in right and given[name] == right[name] for name in names)

    return fields_equal


def _of_the_reply(passes: Callable[[str], bool]) -> Check:
    """A check that looks at the reply alone."""

    def check(messages: list[dict], reply: str, reference: str) -> bool:
        """The reply is as its maker asks."""
        return passes(reply)

    return check


def contains(*words: str) -> Check:
    """All `words` stand in the reply; upper and lower case are alike."""
    return _of_the_reply(lambda reply: all(word.casefold() in reply.casefold() for word in words))


def matches(pattern: str) -> Check:
    """The regular expression `pattern` is found in the reply."""
    compiled = re.compile(pattern)
    return _of_the_reply(lambda reply: bool(compiled.search(reply)))


def at_most(characters: int) -> Check:
    """The reply has some text, and at most so many characters."""
    return _of_the_reply(lambda reply: 0 < len(reply.strip()) <= characters)


def no_repetition(messages: list[dict], reply: str, reference: str) -> bool:
    """No piece of five characters or more stands three times in a row, and no line stands three times."""
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    return not re.search(r"(.{5,}?)\1\1", reply, re.DOTALL) and all(lines.count(line) < 3 for line in lines)


def stops(messages: list[dict], reply: str, reference: str) -> bool:
    """The reply ended by itself."""
    return getattr(reply, "stopped", True)


def values_from_question(messages: list[dict], reply: str, reference: str) -> bool:
    """Every value of the reply's JSON stands in what was asked, letter by letter: nothing is made up."""
    content = _json(reply)
    asked = "\n".join(str(message.get("content") or "") for message in messages if message.get("role") == "user")
    return isinstance(content, (dict, list)) and all(value in asked for value in _values(content))


def _values(content) -> Iterator[str]:
    """The texts and numbers in JSON, as they are written; null and true say nothing that could stand somewhere."""
    if isinstance(content, (dict, list)):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _values(part)
    elif content is not None and not isinstance(content, bool):
        yield str(content)
