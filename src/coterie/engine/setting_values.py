"""Settings as people write them: one name, one value in words, checked before it goes into the log."""

from __future__ import annotations

import difflib

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.settings import Settings
from coterie.engine import quorum_sizes
from coterie.engine.quorum_sizes import shown

NAMES: tuple[str, ...] = (*Settings.__struct_fields__, *quorum_sizes.NAMES)
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


def setting_named(name: str) -> str:
    """The setting of this name, which may be written with hyphens or with underscores. Raises `ConfigurationError` if
    there is none; it says which there are."""
    found = name.replace("-", "_")
    if found not in NAMES:
        near = difflib.get_close_matches(found, NAMES, n=1, cutoff=0.5)
        hint = f"did you mean {shown(near[0])!r}?" if near else f"the settings are: {', '.join(map(shown, NAMES))}"
        raise ConfigurationError(f"{name!r} is not a setting; {hint}")
    return found


def with_setting(settings: Settings, name: str, value: str) -> Settings:
    """The settings with one of them changed. Raises `ConfigurationError`: unknown, not of its type, out of its
    range, or not to be set by hand."""
    name = setting_named(name)
    if name in quorum_sizes.NAMES:
        raise ConfigurationError(
            f"{shown(name)} is part of the membership: change it by `coterie settings set`, or a client's "
            "`set_quorum_sizes`"
        )
    if name == "version":
        # A format that one member does not know would stop that member: nobody may jump ahead of it.
        raise ConfigurationError(
            "version is not set by hand: the leader raises it by itself, once every member runs a program that "
            "supports the next one"
        )
    if type(getattr(settings, name)) is bool:
        word = value.strip().lower()
        if word not in _WORDS:
            raise ConfigurationError(f"{name} is {value!r}: it must be true or false")
        return msgspec.structs.replace(settings, **{name: _WORDS[word]})
    digits = value.strip().replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 18):
        raise ConfigurationError(f"{name} is {value!r}: it must be a whole number")
    return msgspec.structs.replace(settings, **{name: int(digits)})
