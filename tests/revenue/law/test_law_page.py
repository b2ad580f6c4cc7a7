"""The page on how a rulebook is written holds one: its pieces load, and do what the page says."""

import re
from datetime import date
from pathlib import Path

from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.reasons import Reason
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.batches import filings
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.random_law import EXCHANGE

PAGE = Path(__file__).parents[3] / "docs" / "revenue" / "law.md"


def test_the_pieces_of_the_page_are_a_rulebook_that_does_what_the_page_says() -> None:
    rulebook, _, _ = PAGE.read_text(encoding="utf-8").partition("\n## Tariffs\n")
    text = "".join(re.findall(r"```yaml\n(.*?)```", rulebook, re.DOTALL))
    program = compile_program([read_rulebook("page.yaml", text)], [], EXCHANGE)
    gift = {"nature": "gift", "consignor": "natural", "consignee": "natural"}
    done = assess(
        program,
        filings(
            [
                Consignment("XA", date(2022, 6, 1), [Item(price=3_000), Item(price=2_000), Item(price=1_500)], **gift),
                Consignment("XA", date(2022, 6, 1), [Item(price=19_047)], dispatch="US"),
                Consignment("XA", date(2022, 6, 1), [Item(price=19_048)], dispatch="US"),
                Consignment("XB", date(2026, 7, 1), [Item(price=1_000)]),
            ]
        ),
    )
    assert (done.reason == Reason.NONE).all()
    assert done.eligibility.relieved[0].tolist() == [True, False, True, False, False, False]
    assert done.eligibility.row_within[:, 0].tolist() == [True, True, False, True]
    duty, tax, fee = done.by_kind
    assert duty.tolist() == [0, 0, 0, 0]  # 9.52 EUR of duty are below the least that is collected.
    assert tax.tolist() == [380, 3_619, 3_619, 190]
    assert fee.tolist() == [0, 0, 0, 200]
