"""What a batch owes: valued, tested on limits and schemes, charged, reviewed, and put on accounts.

Imports `program`, `source` and `batch`. Within: `charge_accounts` > `securities` > `assessment` > `charges` > `eligibility` > `valuation`;
`assessment` imports `remarks` and `review` too.
"""
