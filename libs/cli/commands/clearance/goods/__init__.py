"""Commands on controlled goods: licences, applications of rights holders, and movements to another office."""
