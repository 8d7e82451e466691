"""Mail: composing once, personalising for each, sending at the account's pace, and the record of who got what."""
