"""The mails that went out: how many each recipient had, of a digest by its day."""

import re
from collections import Counter
from datetime import date

from nightshift.local.aws import LocalAws, parse_mail

_DAY = re.compile(r" posts? from \w+, (\d+ \w+ \d+)$")


class Post:
    """Counts mails, and forgets them: a year of them would not fit."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self.digests: Counter[tuple[str, str]] = Counter()
        self.letters: Counter[str] = Counter()

    def collect(self) -> None:
        """Count what was sent since."""
        for mail in self._aws.take_sent():
            subject = " ".join(str(parse_mail(mail.content)["Subject"]).split())
            day = _DAY.search(subject)
            if day:
                self.digests[mail.recipient, day[1]] += 1
            else:
                self.letters[mail.recipient] += 1

    def digests_of(self, recipient: str, day: date) -> int:
        """Return how many digests of a day somebody has had."""
        return self.digests[self.name(recipient, day)]

    @staticmethod
    def name(recipient: str, day: date) -> tuple[str, str]:
        """Return by what `digests` knows somebody's digest of a day, which is what its subject says."""
        return recipient, f"{day.day} {day:%B %Y}"
