"""What goods are worth, in the currency of the law that applies: `valuation` > `money` > `values`."""
