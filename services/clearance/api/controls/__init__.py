"""The edge of controls: their service, checks of requests, and what each role reads of them."""
