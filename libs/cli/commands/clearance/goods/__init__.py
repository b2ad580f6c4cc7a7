"""Commands on controlled goods: licences, and applications of rights holders."""
