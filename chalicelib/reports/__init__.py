"""The monthly report: calendar months, their figures, and the page, the sheet and the mail that show them."""
