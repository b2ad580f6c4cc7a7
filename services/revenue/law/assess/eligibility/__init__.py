"""What each consignment is eligible for before it is charged: schemes, limits and reliefs, put together by `eligibility`."""
