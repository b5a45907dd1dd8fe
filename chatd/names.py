"""What an account or a group may be called, and when two names are the same name.

The rule: a name is folded once, where it comes in; everything further in sees folded names only. Folding is PRECIS
(RFC 8265, UsernameCaseMapped: full-width forms become ordinary ones, capitals become small, NFC), and what comes out
must be ASCII letters, digits, `.`, `_` or `-`.

That is why there is no mixed-script rule here, although PRECIS lets look-alikes of other scripts pass: a Cyrillic `а`
is still Cyrillic after folding, so a name with one in it is no ASCII name and is refused as a whole. What remains are
the look-alikes within ASCII, and those are `skeleton`'s.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from precis_i18n import get_profile

from chatd.errors import Refusal

LONGEST: Final = 32
"""The characters a name may have, `#` not counted: the same for accounts and groups."""

_PROFILE: Final = get_profile("UsernameCaseMapped")
_ACCOUNT: Final = re.compile(rf"[a-z0-9._-]{{2,{LONGEST}}}")
_GROUP: Final = re.compile(rf"[a-z0-9._-]{{1,{LONGEST}}}")
_LOOK_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "m": "rn"})
_NEAR: Final = 0.65
_LONGEST_TYPO: Final = 64


def skeleton(folded: str) -> str:
    """The key by which account names are unique: two folded names with one skeleton look alike.

    It merges what Unicode's confusables.txt (UTS #39, class MA) lists between things that can stand in a folded name:

    - `0` and `o` (listed as 0 → O, and a capital O folds to `o`),
    - `1` and `l` (1 → l),
    - `m` and `rn` (m → rn).

    Nothing else is listed. A capital I resembles `l`, but it folds to `i`, whose dot tells it from `l` wherever the
    name is shown. `w` and `vv`, `cl` and `d`, `5` and `s` are not in the table. `_`, `-` and `.` stay distinct: where
    `alice` is taken, `alice_` is on offer.

    >>> skeleton("r00t"), skeleton("adrnin") == skeleton("admin"), skeleton("alice_")
    ('root', True, 'alice_')
    """
    return folded.translate(_LOOK_ALIKE)


# Names that would speak for the service, and words that mean something where a name is expected (`/approve all`).
RESERVED: Final = frozenset({"admin", "server", "system", "root", "chatd", "all", "deleted"})
_RESERVED_SKELETONS: Final = frozenset(map(skeleton, RESERVED))


def fold_account(typed: str) -> str:
    """The account name that `typed` means: `Alice` is `alice`.

    Raises BAD_NAME if it is none: not `[a-z0-9._-]{2,32}` after folding, or reserved, or a look-alike of a reserved one
    (`r00t`). Nothing else is raised, whatever the string.
    """
    folded = _fold(typed)
    if not _is_account(folded):
        raise Refusal("BAD_NAME", name=typed, what="user")
    return folded


def fold_group(typed: str) -> str:
    """The group name that `typed` means, always with its `#`: `Ops` and `#ops` are `#ops`.

    Raises BAD_NAME if the rest is not `[a-z0-9._-]{1,32}` after folding, and nothing else.
    """
    folded = _fold(typed.removeprefix("#"))
    if not _GROUP.fullmatch(folded):
        raise Refusal("BAD_NAME", name=typed, what="group")
    return f"#{folded}"


def suggestions(folded: str, taken: Callable[[str], bool]) -> tuple[str, ...]:
    """Two names near `folded` that could be had instead: `alice2`, `alice_`.

    `taken` says whether a name, or one that looks like it, is in use. A name already of full length loses its end to
    the suffix. Fewer than two come back only if some hundred neighbours are all taken.

    >>> suggestions("alice", {"alice", "alice2"}.__contains__)
    ('alice3', 'alice_')
    """
    numbers = _free(folded, map(str, range(2, 100)), taken)
    marks = _free(folded, ("_", "-", "_2", "_3"), taken)
    first = next(numbers, None)
    second = next(chain(marks, numbers), None)
    return tuple(name for name in (first, second) if name)


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Of `candidates` the one that `name` was probably meant to be, or "" if none is near enough to be worth asking.

    >>> nearest("bbo", ["alice", "bob", "carol"]), nearest("zoe", ["alice", "bob"])
    ('bob', '')
    """
    if len(name) > _LONGEST_TYPO:
        return ""
    close = difflib.get_close_matches(name.casefold(), candidates, n=1, cutoff=_NEAR)
    return close[0] if close else ""


def _fold(typed: str) -> str:
    """`typed` by PRECIS, or "" where PRECIS refuses it."""
    if _GROUP.fullmatch(typed):  # nothing to fold, nearly always
        return typed
    if len(typed) > LONGEST:  # no fold to ASCII is shorter than what was typed; and PRECIS is not fast
        return ""
    try:
        return _PROFILE.enforce(typed)
    except UnicodeError:
        return ""


def _is_account(folded: str) -> bool:
    return bool(_ACCOUNT.fullmatch(folded)) and skeleton(folded) not in _RESERVED_SKELETONS


def _free(folded: str, suffixes: Iterable[str], taken: Callable[[str], bool]) -> Iterator[str]:
    for suffix in suffixes:
        name = folded[: LONGEST - len(suffix)] + suffix
        if name != folded and _is_account(name) and not taken(name):
            yield name
