"""Frozen dataclasses that cost no more than others: millions of them are made a minute."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from collections.abc import Callable

    def dataclass(*, frozen: bool = False, slots: bool = False) -> Callable[[type], type]:
        """Make a dataclass whose being frozen the type checker enforces.

        At run time `object.__setattr__` for each field would take five to ten times as long as the assignment that
        stands here. It hashes as a frozen one does.
        """
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ("dataclass",)
