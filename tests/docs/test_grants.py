"""The page of the data shows the statements that a deployment asks for."""

import pytest

from chalicelib.core import grants
from tests.docs.pages import ROOT

ACCOUNT = grants.account_of("nightshift")
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("on_mariadb", [False, True])
def test_each_statement_for_the_databases_user_is_on_the_page(on_mariadb: bool) -> None:
    wanted = [right.grant(ACCOUNT) for right in grants.lacking("application", on_mariadb=on_mariadb)]
    assert [each for each in (grants.new_user(ACCOUNT), *wanted, grants.TRUST) if f"`{each}`" not in PAGE] == []
