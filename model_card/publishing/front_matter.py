"""The front matter of a README: our keys are set, all others stay exactly as written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import yaml

from model_card.publishing.errors import KoSentError

# The same block that the Hub looks for.
FRONT_MATTER = re.compile(
    r"^(\ufeff?\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))"
)
# Lists that several people add to; any other key has one owner.
SHARED_LISTS = ("language", "datasets", "metrics", "tags")
# A few aliases save writing; aliases of aliases of aliases expand to more than any memory.
MAX_ALIASES, MAX_DEPTH = 5, 100
OUR_TASK = "Empathetic dialogue (KoSent)"
OUR_WIDGETS = "KoSent"


def split(text: str) -> tuple[str, str]:
    """The front matter with its `---` lines ("" if there is none) and the rest."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return "", text
    return text[: match.end()], text[match.end() :]


def read(text: str) -> dict[str, Any]:
    """The metadata of a README, {} if it has none; raises KoSentError if it is not a mapping."""
    front, _ = split(text)
    match = FRONT_MATTER.match(front)
    if match is None:
        return {}
    try:
        data = load(match[2])
    except yaml.YAMLError as error:
        raise _invalid(error) from None
    if data is not None and not isinstance(data, dict):
        raise KoSentError(
            "README.md, line 2", "metadata is not a list of `key: value` lines", "fix it"
        )
    return data or {}


def load(front: str) -> Any:
    """The data in YAML; raises yaml.YAMLError, also for endless nesting or repetition."""
    depths = accumulate((c in "[{") - (c in "]}") for c in front)
    # PyYAML's time grows with the square of this depth.
    if max(depths, default=0) > MAX_DEPTH:
        raise yaml.constructor.ConstructorError(None, None, "nested too deeply", None)
    repeats = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(front))
    if repeats > MAX_ALIASES:
        raise yaml.constructor.ConstructorError(None, None, "too many aliases", None)
    try:
        return yaml.safe_load(front)
    except RecursionError:
        raise yaml.constructor.ConstructorError(None, None, "nested too deeply", None) from None


def merge(text: str, ours: Mapping[str, Any]) -> str:
    """The README with `ours` in its front matter; other keys, comments and order stay as they are.

    Shared lists are joined; in `model-index` and `widget` our entries replace our earlier ones; any
    other key of ours is set. A key with that value already keeps its lines: merging twice changes
    nothing.
    """
    theirs = read(text)
    merged = {key: _joined(key, theirs.get(key), value) for key, value in ours.items()}
    changes = {k: v for k, v in merged.items() if k not in theirs or theirs[k] != v}
    front, body = split(text)
    match = FRONT_MATTER.match(front)
    if match is None:
        gap = "" if not body or body.startswith("\n") else "\n"
        return f"---\n{dump(merged)}---\n{gap}{body}"
    newline = "\r\n" if "\r\n" in match[1] else "\n"
    block = match[2].replace("\r\n", "\n")
    for key, value in changes.items():
        block = _put(block, key, dump({key: value}))
    return match[1] + block.rstrip("\n").replace("\n", newline) + match[3] + body


def dump(data: Mapping[str, Any] | list[dict[str, Any]]) -> str:
    """The data as YAML lines, in its own order; Hangul is not escaped unless it must be."""
    data = data if isinstance(data, list) else dict(data)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    if yaml.safe_load(text) == data:
        return text
    # PyYAML leaves some line separators bare and then folds them.
    return yaml.safe_dump(data, sort_keys=False, width=10_000)


def _joined(key: str, theirs: Any, ours: Any) -> Any:
    if key in SHARED_LISTS:
        listed = [theirs] if isinstance(theirs, str) else theirs
        if not isinstance(listed, list):
            return ours
        return listed + [item for item in ours if item not in listed]
    if key == "model-index":
        return _joined_index(theirs, ours)
    if key == "widget" and isinstance(theirs, list):
        return [item for item in theirs if not _is_our_widget(item)] + ours
    return ours


def _joined_index(theirs: Any, ours: list[dict[str, Any]]) -> Any:
    """Their model-index with our results in its first entry, in place of our earlier ones."""
    if not isinstance(theirs, list) or not theirs or not isinstance(theirs[0], dict):
        return ours
    first, *others = theirs
    new = ours[0]["results"]
    replaced = [_key(result) for result in new]
    kept = [
        result
        for result in first.get("results") or []
        if not (_is_ours(result) and _key(result) in replaced)
    ]
    return [{**first, "results": kept + new}, *others]


def _is_ours(result: Any) -> bool:
    return isinstance(result, dict) and (result.get("task") or {}).get("name") == OUR_TASK


def _is_our_widget(item: Any) -> bool:
    return isinstance(item, dict) and item.get("group") == OUR_WIDGETS


def _key(result: dict[str, Any]) -> tuple[Any, Any, Any]:
    """What two results of the same evaluation share, at any commit; settings are in the name."""
    dataset = result.get("dataset") or {}
    return dataset.get("type"), dataset.get("name"), dataset.get("split")


def _put(block: str, key: str, lines: str) -> str:
    """The YAML block with the lines of one top-level key replaced, or added at the end."""
    root = yaml.compose(block, Loader=yaml.SafeLoader)
    if root is None:
        return lines if not block.strip() else f"{block.rstrip()}\n{lines}"
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return dump({**yaml.safe_load(block), **yaml.safe_load(lines)})
    starts = [name.start_mark.index for name, _ in root.value] + [len(block)]
    for index, (name, _) in reversed(list(enumerate(root.value))):
        if name.value != key:
            continue
        old = block[starts[index] : starts[index + 1]]
        # Blank lines and comments ahead of the next key belong to that key.
        own = old.rstrip("\n").split("\n")
        while len(own) > 1 and (not own[-1].strip() or own[-1].lstrip().startswith("#")):
            own.pop()
        rest = old[len("\n".join(own)) :].removeprefix("\n")
        return block[: starts[index]] + lines + rest + block[starts[index + 1] :]
    return f"{block.rstrip()}\n{lines}" if block.strip() else lines


def _invalid(error: yaml.YAMLError) -> KoSentError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 2 if mark else 1
    problem = getattr(error, "problem", None) or "not YAML"
    return KoSentError(
        f"README.md, line {line}", f"metadata is not valid YAML ({problem})", "fix it"
    )
