"""The report as one page, as a sheet of its months and as JSON. The same report always gives the same bytes."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC

from chalicelib.core.clock import iso
from chalicelib.tasks.monthly_report.cards import cards
from chalicelib.tasks.monthly_report.charts import svg
from chalicelib.tasks.monthly_report.figures import Report
from chalicelib.tasks.monthly_report.month import Month
from chalicelib.tasks.monthly_report.template import render

COLUMNS = ("month", "new_users", "new_posts", "active_users")


def html(report: Report) -> str:
    """Return the report as one page of HTML that asks for nothing else: no script, no font, no picture."""
    from markupsafe import Markup

    computed = report.computed_at.astimezone(UTC)
    return render(
        "report.html.j2",
        report=report,
        cards=[(card, Markup(svg(f"{card.label} by month", card.history))) for card in cards(report)],  # noqa: S704
        missing=_spans(figures.month for figures in report.months if figures.active_users is None),
        computed=f"{computed.day} {computed:%B %Y, %H:%M} UTC",
    )


def csv_text(report: Report) -> str:
    """Return the months as RFC 4180 has it, under a header; a figure that is missing is an empty field."""
    sheet = io.StringIO()
    rows = csv.writer(sheet)
    rows.writerow(COLUMNS)
    rows.writerows([getattr(figures, column) for column in COLUMNS] for figures in report.months)
    return sheet.getvalue()


def json_text(report: Report) -> str:
    """Return the whole report as JSON in ASCII; a figure that is missing is null."""
    values = {
        "site_name": report.site_name,
        "site_url": report.site_url,
        "month": str(report.month),
        "computed_at": iso(report.computed_at),
        "months": [asdict(figures) | {"month": str(figures.month)} for figures in report.months],
        "top_posts": [asdict(post) for post in report.top_posts],
    }
    return json.dumps(values, indent=2) + "\n"


def _spans(months: Iterable[Month]) -> list[str]:
    spans: list[list[Month]] = []
    for month in months:
        if spans and spans[-1][-1].next() == month:
            spans[-1].append(month)
        else:
            spans.append([month])
    return [span[0].name if len(span) == 1 else f"{span[0].name} to {span[-1].name}" for span in spans]
