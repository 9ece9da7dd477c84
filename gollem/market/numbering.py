"""Small numbers for names, given back when a name is used no more, so that churn does not use them up."""

from collections.abc import Iterable


class Numbering:
    """Each name has one number as long as it is taken at least once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._uses: list[int] = []
        self._free: list[int] = []

    def take(self, name: str) -> int:
        """The number of the name, once more in use."""
        number = self._numbers.get(name)
        if number is None:
            number = self._free.pop() if self._free else len(self._uses)
            if number == len(self._uses):
                self._uses.append(0)
            self._numbers[name] = number
        self._uses[number] += 1
        return number

    def drop(self, name: str) -> None:
        """One use less."""
        number = self._numbers[name]
        self._uses[number] -= 1
        if self._uses[number] == 0:
            del self._numbers[name]
            self._free.append(number)

    def known(self, names: Iterable[str]) -> tuple[int, ...]:
        """The numbers of those names that are in use."""
        numbers = self._numbers
        return tuple([numbers[name] for name in names if name in numbers])
