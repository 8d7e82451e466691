"""The choices of a mapping: what is proposed and why, and what was chosen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chalicelib.core.error_text import suggestion
from chalicelib.core.errors import ConfigurationError

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice: `key` names it for `--set`, `proposal` and each of `options` can be answered, as can `none`."""

    key: str
    question: str
    proposal: str
    reason: str
    options: tuple[str, ...] = ()
    is_sure: bool = True
    is_needed: bool = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """A choice and its answer."""

    choice: Choice
    answer: str

    @property
    def reason(self) -> str:
        """Why: the proposal's reason, unless it was answered otherwise."""
        return self.choice.reason if self.answer == self.choice.proposal else "as you chose"


@dataclass(kw_only=True)
class Choices:
    """Makes choices: by what was given, else by asking for those that are not sure."""

    ask: Callable[[Choice], str]
    given: Mapping[str, str] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    def make(self, choice: Choice) -> str | None:
        """Return the answer, None for `none`. Raises ConfigurationError for one that is not there."""
        answer = self.given.get(choice.key) or (choice.proposal if choice.is_sure else self.ask(choice))
        answer = answer.strip()
        known = (choice.proposal, *choice.options)
        is_none = answer == NONE
        if is_none and choice.is_needed:
            raise ConfigurationError(f"{choice.reason}, and Nightshift needs it: name it with --set {choice.key}=NAME")
        # A path into JSON, or a key of another table, is not among the options.
        if not is_none and answer not in known and "." not in answer:
            raise ConfigurationError(f"{choice.key} cannot be {answer!r:.60}: {suggestion(answer, known)}")
        self.made.append(Made(choice=choice, answer=answer))
        return None if is_none else answer

    def check(self) -> None:
        """Raise ConfigurationError if an answer was given to a question that does not arise."""
        keys = [made.choice.key for made in self.made]
        for key in self.given:
            if key not in keys:
                raise ConfigurationError(f"there is nothing to choose as {key}: {suggestion(key, keys)}")
